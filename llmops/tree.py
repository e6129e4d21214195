"""commit -> files: the only reader of git objects.

What a partial clone left at its remote is brought when it is read, all that is listed with it at once.

Effects: reads git, fetches what a partial clone lacks; writes trees that exist only in thought (a merge, a working
copy) as loose objects.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import pygit2
from pygit2.enums import FileMode, ObjectType, Option

from llmops import git
from llmops.problems import Broken, Misused, Refused
from llmops.values import Digest

T = TypeVar("T")
_IS_UTF8 = sys.getfilesystemencoding() == "utf-8"
_ODD = {FileMode.LINK: "symbolic link", FileMode.COMMIT: "submodule"}


def discover(path: Path) -> pygit2.Repository:
    """Find the repository that holds a folder. Raises `Misused` when there is none."""
    found = pygit2.discover_repository(str(path))
    if found is None:
        raise Misused(f"{path.resolve()} is not in a git repository. Run `git init`, then `llmops init`.")
    try:
        return pygit2.Repository(found)
    except pygit2.GitError as error:
        raise Broken(f"cannot read the repository at {found}: {_unreadable(str(error), found)}") from None


def _unreadable(words: str, found: str) -> str:
    """Say why libgit2 does not open a repository, and what to do."""
    if "object format" in words.lower():
        return "SHA-256 repositories are not supported yet."
    if "not owned" in words:
        folder = found.rstrip("/").removesuffix("/.git")
        return f"another user owns it. If you trust it: git config --global --add safe.directory {shlex.quote(folder)}"
    return f"{words.rstrip('.')}."


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
        self._entries: dict[str, pygit2.Object] = {}

    @property
    def tree(self) -> str:
        """The id of the tree: two commits with the same files have the same."""
        return str(self._tree.id)

    def changed_since(self, tree: str) -> tuple[str, ...] | None:
        """Give the paths that are other than in another tree, None when that one is not here."""
        if tree == self.tree:
            return ()
        # Else git reads the whole index of the working copy first.
        nowhere = {"GIT_INDEX_FILE": str(Path(self._repo.path) / "no-index"), "GIT_NO_REPLACE_OBJECTS": "1"}
        command = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none", tree, self.tree)
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
        if not isinstance(entry, pygit2.Blob) or entry.filemode == FileMode.LINK:
            raise KeyError(path)
        return self._here(path, lambda: entry.data)

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
        kind, size = self._here(path, lambda: self._repo.odb.read_header(entry.id))
        return size if kind == ObjectType.BLOB else 0

    def sha256(self, path: str) -> Digest:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(self[path]).hexdigest()
        return self._digests[path]

    def oddity(self, path: str) -> str:
        entry = self._entry(path)
        return _ODD.get(FileMode(entry.filemode), "") if entry is not None else ""

    def _here(self, path: str, read: Callable[[], T]) -> T:
        """Read something of a file; when it is not here, it is brought with all of the folder that was listed."""
        try:
            return read()
        except KeyError:
            listed = [folder for folder in self._names if folder and path.startswith(f"{folder}/")]
            around = self._names[min(listed, key=len)] if listed else ()
            self.bring({path, *around})
            return read()

    def bring(self, paths: Iterable[str]) -> None:
        """Fetch what is not here of these files. Raises `Broken` when the remote cannot be reached."""
        entries = map(self._entry, paths)
        _bring(self._repo, [str(entry.id) for entry in entries if isinstance(entry, pygit2.Blob)])

    def _entry(self, path: str) -> pygit2.Object | None:
        if path in self._entries:
            return self._entries[path]
        try:
            return self._tree[_native(path.rstrip("/"))] if path else self._tree
        except (KeyError, ValueError):
            return None

    def _walk(self, tree: pygit2.Tree, prefix: str) -> list[str]:
        found: list[str] = []
        for entry in tree:
            path = f"{prefix}{_read(str(entry.name))}"
            if isinstance(entry, pygit2.Tree):
                found += self._walk(entry, f"{path}/")
            else:
                found.append(path)
                self._entries[path] = entry
        return found


def _native(path: str) -> str:
    """Write a path as libgit2 takes it: what git holds is UTF-8, whatever this process takes names to be."""
    return path if _IS_UTF8 else os.fsdecode(path.encode("utf-8", "surrogateescape"))


def _read(name: str) -> str:
    """Read a name as libgit2 gives it."""
    return name if _IS_UTF8 else os.fsencode(name).decode("utf-8", "surrogateescape")


def files(repo: pygit2.Repository, commit: str) -> CommitFiles:
    """Give the files of a commit."""
    return CommitFiles(repo, _root(repo, commit))


def _root(repo: pygit2.Repository, commit: str) -> pygit2.Tree:
    found = repo[commit].peel(pygit2.Commit)
    if found.tree_id not in repo:
        _bring(repo, [str(found.tree_id)])  # with all folders below
    return found.tree


def complete(repo: pygit2.Repository, commit: str) -> None:
    """Bring every file of a commit that a partial clone lacks. Raises `Broken` when its remote cannot be reached."""
    if _promisor(repo):
        found = files(repo, commit)
        found.bring(found.names())


def _bring(repo: pygit2.Repository, oids: Iterable[str]) -> None:
    """Fetch objects that a partial clone lacks as git does (fetch_objects in its promisor-remote.c), in one go."""
    lacking = [oid for oid in oids if oid not in repo]
    remote = _promisor(repo)
    if lacking and not remote:
        raise Broken(f"{lacking[0]} is not in this repository, which lacks nothing on purpose. See `git fsck`.")
    how = "fetch --quiet --no-tags --no-write-fetch-head --recurse-submodules=no --filter=blob:none --stdin".split()
    try:
        if lacking:
            git.run(top(repo), "-c", "fetch.negotiationAlgorithm=noop", *how, remote, stdin="\n".join(lacking))
    except git.GitFailed as error:
        raise Broken(
            f'this is a partial clone that lacks {len(lacking)} objects, and the git remote "{remote}" does not give '
            f"them: {error.words}. Try again when it is reachable; `git fetch --refetch --no-filter` brings everything."
        ) from None


def _promisor(repo: pygit2.Repository) -> str:
    """Name the remote that has what a partial clone lacks; '' when this is none."""
    names = (one.name for one in repo.config if one.name.startswith("remote.") and one.name.endswith(".promisor"))
    return next((name.removeprefix("remote.").removesuffix(".promisor") for name in names), "")


def merged(repo: pygit2.Repository, base: str, head: str) -> CommitFiles:
    """Give the files that merging head into base would give. Raises `Refused` on a conflict."""
    ancestor = repo.merge_base(base, head)
    if ancestor is None:
        raise Refused(
            f"{base[:12]} and {head[:12]} have no common ancestor. In a shallow clone run `git fetch --unshallow`."
        )
    old, ours, theirs = (_root(repo, str(commit)) for commit in (ancestor, base, head))
    is_partial = bool(_promisor(repo))
    if is_partial:
        changed = [*old.diff_to_tree(ours).deltas, *old.diff_to_tree(theirs).deltas]
        _bring(repo, {str(side.id) for one in changed for side in (one.old_file, one.new_file) if _is_file(side)})
    index = repo.merge_trees(old, ours, theirs)
    if index.conflicts:
        paths = sorted({side.path for conflict in index.conflicts for side in conflict if side is not None})
        raise Refused(f"head cannot be merged: both sides changed {', '.join(paths)}. Rebase it onto the base.")
    with _unchecked() if is_partial else nullcontext():
        return CommitFiles(repo, repo[index.write_tree(repo)].peel(pygit2.Tree))


def _is_file(side: pygit2.DiffFile) -> bool:
    return side.mode in (FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.LINK)


@contextmanager
def _unchecked() -> Iterator[None]:
    """Let libgit2 write trees without looking for what they name, which a partial clone need not have."""
    pygit2.option(Option.ENABLE_STRICT_OBJECT_CREATION, 0)
    try:
        yield
    finally:
        pygit2.option(Option.ENABLE_STRICT_OBJECT_CREATION, 1)


def is_dirty(repo: pygit2.Repository) -> bool:
    """Whether the working copy differs from HEAD."""
    return repo.workdir is not None and bool(git.run(top(repo), "status", "--porcelain").strip())


def subject(repo: pygit2.Repository, commit: str) -> str:
    """Give the first line of a commit's message."""
    return str(repo[commit].peel(pygit2.Commit).message).partition("\n")[0]
