"""Reads the files of commits, of merges, and of the working copy as a commit of it would have them.

Effects: reads git and the working copy, fetches what a partial clone lacks, writes trees that no commit names.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmops.domain import digests
from llmops.domain.digests import Digest
from llmops.domain.problems import Broken, Misused, Refused
from llmops.git import command, objects
from llmops.git.objects import Absent, Entry
from llmops.git.repository import Repository

MOST_AHEAD = 1 << 20
"""Bytes of the largest file that is read ahead."""
SMALL, MOST_KEPT = 1 << 16, 1000
"""Bytes of the largest file that is kept in memory, and how many are."""
_ODD = {"120000": "symbolic link", "160000": "submodule"}


def commit_id(repo: Repository, revision: str) -> str:
    """Resolve a branch, tag or abbreviation to the id of a commit. Raises `Misused`."""
    header = repo.objects.find(f"{revision}^{{commit}}")
    if header is not None:
        return header.oid
    if revision == "HEAD" and not repo.objects.find("HEAD"):
        raise Misused("the repository has no commit yet. Run `llmops init` unless you have, and commit your specs.")
    if repo.is_shallow:
        hint = "This clone is shallow: run `git fetch --unshallow`, or check out with fetch-depth: 0."
    else:
        hint = "Run `git fetch` if it is new, or look at `git log --oneline`."
    raise Misused(f'there is no commit "{revision}" here. {hint}')


class CommitFiles:
    """The files of one tree. They are read by object id when they are needed, never from a working copy."""

    def __init__(self, repo: Repository, tree: str) -> None:
        self._repo, self._objects = repo, repo.objects
        self.tree = tree
        """The id of the tree, which commits with the same files share."""
        self._names: dict[str, tuple[str, ...]] = {}
        self._digests: dict[str, Digest] = {}
        self._folders: dict[str, dict[str, Entry]] = {}
        self._entries: dict[str, Entry | None] = {}
        self._kept: dict[str, bytes] = {}

    def changed_since(self, tree: str) -> tuple[str, ...] | None:
        """List the paths that differ from another tree; None if that one is missing here."""
        try:
            return tuple(sorted(set(objects.changed(self._objects, tree, self.tree)))) if tree != self.tree else ()
        except Absent:
            return None

    def __contains__(self, path: object) -> bool:
        entry = self._entry(str(path))
        return entry is not None and _is_file(entry)

    def __getitem__(self, path: str) -> bytes:
        if path in self._kept:
            return self._kept[path]
        entry = self._entry(path)
        if entry is None or not _is_file(entry):
            raise KeyError(path)
        try:
            data = self._objects.read(entry.oid)
        except Absent:
            raise Broken(f"{path} ({entry.oid}) is missing from this repository. Run `git fsck`.") from None
        if len(data) <= SMALL and len(self._kept) < MOST_KEPT:  # many specs may name one file
            self._kept[path] = data
        return data

    def names(self, folder: str = "") -> tuple[str, ...]:
        folder = folder.rstrip("/")
        if folder not in self._names:
            entry = self._entry(folder)
            if entry is not None and entry.is_folder:
                self._repo.bring(entry.oid)
            paths = self._walk(entry.oid, f"{folder}/" if folder else "") if entry and entry.is_folder else ()
            self._names[folder] = tuple(sorted(paths))
        return self._names[folder]

    def size(self, path: str) -> int:
        if path in self._kept:
            return len(self._kept[path])
        entry = self._entry(path)
        header = self._objects.find(entry.oid) if entry and _is_file(entry) else None
        return header.size if header else 0

    def sha256(self, path: str) -> Digest:
        if path not in self._digests:
            self._digests[path] = digests.sha256(self[path])
        return self._digests[path]

    def oddity(self, path: str) -> str:
        entry = self._entry(path)
        return _ODD.get(entry.mode, "") if entry is not None else ""

    def expect(self, paths: Iterable[str]) -> None:
        new = {path for path in paths if path not in self._digests}  # of others the digest is enough
        oids = {path: entry.oid for path in new if (entry := self._entry(path)) and _is_file(entry)}
        headers = self._objects.finds(list(oids.values()))
        small = {
            path: header.oid for path, header in zip(oids, headers, strict=True) if header and header.size <= MOST_AHEAD
        }
        self._kept = dict(zip(small, self._objects.reads(list(small.values())), strict=True))

    def _entry(self, path: str) -> Entry | None:
        if path not in self._entries:
            self._entries[path] = self._look_up(path)
        return self._entries[path]

    def _look_up(self, path: str) -> Entry | None:
        entry: Entry | None = Entry("40000", self.tree)
        for name in path.rstrip("/").split("/") if path else ():
            if entry is None or not entry.is_folder:
                return None
            entry = self._folder(entry.oid).get(name)
        return entry

    def _folder(self, oid: str) -> dict[str, Entry]:
        if oid not in self._folders:
            try:
                self._folders[oid] = self._objects.folder(oid)
            except Absent:
                raise Broken(f"the folder {oid} is missing from this repository. Run `git fsck`.") from None
        return self._folders[oid]

    def _walk(self, oid: str, prefix: str) -> Iterator[str]:
        entries = self._folder(oid)
        del self._folders[oid]  # its files are in `_entries`
        for name, entry in entries.items():
            path = f"{prefix}{name}"
            if entry.is_folder:
                yield from self._walk(entry.oid, f"{path}/")
            else:
                self._entries[path] = entry
                yield path


def _is_file(entry: Entry) -> bool:
    return not entry.is_folder and entry.mode not in _ODD


def files(repo: Repository, commit: str) -> CommitFiles:
    """Open the files of a commit, and fetch its folders if they are missing."""
    repo.bring("--filter=blob:none", "--no-walk", commit)
    header = repo.objects.find(f"{commit}^{{tree}}")
    if header is None:
        raise Broken(f"the folders of commit {commit} are missing from this repository. Run `git fsck`.")
    return CommitFiles(repo, header.oid)


def merged(repo: Repository, base: str, head: str) -> CommitFiles:
    """Merge head into base, and open the files of the result. Raises `Refused` on a conflict."""
    try:
        merge = command.run(repo.around, "merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", base, head)
    except command.GitFailed as error:
        raise _unmerged(error, base, head) from None
    return CommitFiles(repo, merge.rstrip("\0"))


def working_copy(repo: Repository) -> CommitFiles:
    """Open the files of the working copy as `git add --all` would commit them. The user's index is not touched."""
    if repo.is_bare:
        raise Misused("a bare repository has no working copy.")
    with importlib.import_module("tempfile").TemporaryDirectory() as folder:  # 5 ms, which a plan of a commit saves
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if repo.objects.find("HEAD"):
            command.run(repo.top, "read-tree", "HEAD", environment=index)
        command.run(repo.top, "add", "--all", environment=index)
        tree = command.run(repo.top, "write-tree", environment=index).strip()
    return CommitFiles(repo, tree)


def _unmerged(error: command.GitFailed, base: str, head: str) -> Exception:
    """The error for a conflict (exit code 1), or for commits that have nothing in common."""
    if error.code == 1:
        paths = sorted(set(error.out.split("\0")[1:]) - {""})
        return Refused(f"head cannot be merged: both sides changed {', '.join(paths)}. Rebase it onto the base.")
    if "unrelated histories" in error.words:
        return Refused(
            f"{base[:12]} and {head[:12]} have no common ancestor. In a shallow clone run `git fetch --unshallow`."
        )
    return error


def is_dirty(repo: Repository) -> bool:
    return not repo.is_bare and bool(command.run(repo.top, "status", "--porcelain").strip())


def subject(repo: Repository, commit: str) -> str:
    _, _, message = repo.objects.read(commit).partition(b"\n\n")
    return message.partition(b"\n")[0].decode(errors="replace")
