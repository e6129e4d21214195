"""commit -> files: the only reader of git objects.

Effects: reads git; writes trees that exist only in thought (a merge, a working copy) as loose objects.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from llmops import git
from llmops.problems import Misused, Refused
from llmops.values import Digest

_ODD = {FileMode.LINK: "symbolic link", FileMode.COMMIT: "submodule"}


def discover(path: Path) -> pygit2.Repository:
    """Find the repository that holds a folder. Raises `Misused` when there is none."""
    found = pygit2.discover_repository(str(path))
    if found is None:
        raise Misused(f"{path.resolve()} is not in a git repository. Run `git init`, then `llmops init`.")
    try:
        return pygit2.Repository(found)
    except pygit2.GitError as error:
        words = "SHA-256 repositories are not supported yet" if "object format" in str(error).lower() else str(error)
        raise Refused(f"cannot read the repository at {found}: {words}.") from None


def common_folder(repo: pygit2.Repository) -> Path:
    """Give the git directory that all linked worktrees share."""
    own = Path(repo.path)
    pointer = own / "commondir"
    return (own / pointer.read_text().strip()).resolve() if pointer.exists() else own


def top(repo: pygit2.Repository) -> Path:
    """Give the folder that git commands run in: the work tree, or the git directory of a bare repository."""
    return Path(repo.workdir or repo.path)


def commit_id(repo: pygit2.Repository, revision: str) -> str:
    """Turn a branch, tag or abbreviation into the id of a commit. Raises `Misused` saying why it cannot."""
    if repo.head_is_unborn and revision == "HEAD":
        raise Misused("the repository has no commit yet. Commit llmops.yaml and your specs first.")
    try:
        return str(repo.revparse_single(revision).peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError):
        if repo.is_shallow:
            hint = "This clone is shallow: run `git fetch --unshallow`, or check out with fetch-depth: 0."
        else:
            hint = "Run `git fetch` if it is new, or look at `git log --oneline`."
        raise Misused(f'there is no commit "{revision}" here. {hint}') from None


class CommitFiles:
    """The files of one tree, read by object id when they are asked for; nothing of a working copy is seen."""

    def __init__(self, repo: pygit2.Repository, tree: pygit2.Tree) -> None:
        self._repo, self._tree = repo, tree
        self._names: dict[str, tuple[str, ...]] = {}
        self._digests: dict[str, Digest] = {}

    @property
    def tree(self) -> str:
        """The id of the tree: two commits with the same files have the same."""
        return str(self._tree.id)

    def changed_since(self, tree: str) -> tuple[str, ...] | None:
        """Give the paths that are other than in another tree, None when that one is not here."""
        if tree == self.tree:
            return ()
        # Else git reads the whole index of the working copy first.
        nowhere = {"GIT_INDEX_FILE": str(Path(self._repo.path) / "no-index")}
        command = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", tree, self.tree)
        try:
            found = git.run(top(self._repo), *command, environment=nowhere)
        except git.GitFailed:
            return None
        return tuple(path for path in found.split("\0") if path)

    def __contains__(self, path: object) -> bool:
        entry = self._entry(str(path))
        return isinstance(entry, pygit2.Blob) and entry.filemode != FileMode.LINK

    def __getitem__(self, path: str) -> bytes:
        entry = self._entry(path)
        if not isinstance(entry, pygit2.Blob) or path not in self:
            raise KeyError(path)
        return entry.data

    def names(self, folder: str = "") -> tuple[str, ...]:
        folder = folder.rstrip("/")
        if folder not in self._names:
            tree = self._entry(folder) if folder else self._tree
            found = self._walk(tree, f"{folder}/" if folder else "") if isinstance(tree, pygit2.Tree) else []
            self._names[folder] = tuple(sorted(found))
        return self._names[folder]

    def size(self, path: str) -> int:
        entry = self._entry(path)
        if not isinstance(entry, pygit2.Blob):
            return 0
        kind, size = self._repo.odb.read_header(entry.id)
        return size if kind == ObjectType.BLOB else 0

    def sha256(self, path: str) -> Digest:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(self[path]).hexdigest()
        return self._digests[path]

    def oddity(self, path: str) -> str:
        entry = self._entry(path)
        return _ODD.get(FileMode(entry.filemode), "") if entry is not None else ""

    def _entry(self, path: str) -> pygit2.Object | None:
        try:
            return self._tree[path.rstrip("/")] if path else self._tree
        except (KeyError, ValueError):
            return None

    def _walk(self, tree: pygit2.Tree, prefix: str) -> list[str]:
        found: list[str] = []
        for entry in tree:
            path = f"{prefix}{entry.name}"
            found += self._walk(entry, f"{path}/") if isinstance(entry, pygit2.Tree) else [path]
        return found


def files(repo: pygit2.Repository, commit: str) -> CommitFiles:
    """Give the files of a commit."""
    return CommitFiles(repo, repo[commit].peel(pygit2.Tree))


def merged(repo: pygit2.Repository, base: str, head: str) -> CommitFiles:
    """Give the files that merging head into base would give. Raises `Refused` on a conflict."""
    ancestor = repo.merge_base(base, head)
    if ancestor is None:
        raise Refused(
            f"{base[:12]} and {head[:12]} have no common ancestor. In a shallow clone run `git fetch --unshallow`."
        )
    index = repo.merge_trees(
        repo[ancestor].peel(pygit2.Tree), repo[base].peel(pygit2.Tree), repo[head].peel(pygit2.Tree)
    )
    if index.conflicts:
        paths = sorted({side.path for conflict in index.conflicts for side in conflict if side is not None})
        raise Refused(f"head cannot be merged: both sides changed {', '.join(paths)}. Rebase it onto the base.")
    return CommitFiles(repo, repo[index.write_tree(repo)].peel(pygit2.Tree))


def is_dirty(repo: pygit2.Repository) -> bool:
    """Whether the working copy differs from HEAD."""
    return repo.workdir is not None and bool(git.run(top(repo), "status", "--porcelain").strip())


def subject(repo: pygit2.Repository, commit: str) -> str:
    """Give the first line of a commit's message."""
    return str(repo[commit].peel(pygit2.Commit).message).partition("\n")[0]
