"""Reads git objects through one `git cat-file` that stays.

libgit2 would do the same, but takes as long to import as a whole plan. Protocol:
https://git-scm.com/docs/git-cat-file#_batch_output, and of trees https://git-scm.com/docs/git-mktree (raw form: mode,
space, name, NUL, id). In a partial clone git fetches a missing object when it is read, one at a time.

Effects: runs git, reads git objects.
"""

from __future__ import annotations

import re
import subprocess
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from sys import intern
from typing import TypeAlias

from msgspec import Struct

from llmops.domain.problems import Broken
from llmops.git import command

ASKED_AT_ONCE = 500
"""How many objects are held at once. git reads every request up to `flush` before it answers."""
ENTRY = re.compile(rb"(\d+) ([^\0]+)\0(.{20})", re.DOTALL)
"""One entry of a tree, with an id of 20 bytes (SHA-1)."""
FOLDER = b"40000"
MISSING = (b"missing", b"ambiguous")


class Absent(Broken):
    """An object is not in this repository."""


class Header(Struct, frozen=True, gc=False):
    oid: str
    kind: str
    """blob, tree, commit or tag."""
    size: int


Answer: TypeAlias = tuple[Header | None, bytes]
"""The header of an object, None if it is missing, and its bytes if they were requested."""


class Entry(Struct, frozen=True, gc=False):
    mode: str
    """As git writes it: 100644, 100755, 120000 (symbolic link), 160000 (submodule), 40000 (folder)."""
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode == "40000"


class Objects:
    """The objects of a repository, by id or by a revision that names one."""

    def __init__(self, around: Path) -> None:
        self.around = around
        self._turn = threading.Lock()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        started = command.attach(self.around, "cat-file", "--batch-command", "--buffer")
        weakref.finalize(self, _end, started).atexit = False  # at exit its pipe closes, and it ends by itself
        return started

    def find(self, name: str) -> Header | None:
        """Resolve a name: an id, a ref, ``HEAD~2``, ``main^{tree}``. None if it names no object."""
        return self.finds([name])[0]

    def finds(self, names: Sequence[str]) -> list[Header | None]:
        return [header for header, _ in self._answers("info", names)]

    def read(self, oid: str) -> bytes:
        """Read an object. Raises `Absent`."""
        return next(self.reads([oid]))

    def reads(self, oids: Sequence[str]) -> Iterator[bytes]:
        """Read several objects, in their order. Raises `Absent`."""
        for oid, (header, data) in zip(oids, self._answers("contents", oids), strict=True):
            if header is None:
                raise Absent(f"{oid} is missing from this repository, or damaged. Run `git fsck`.")
            yield data

    def folder(self, oid: str) -> dict[str, Entry]:
        """Read the entries of a tree by name, in git's order. Raises `Absent`."""
        return next(self.folders([oid]))

    def folders(self, oids: Sequence[str]) -> Iterator[dict[str, Entry]]:
        """Read the entries of several trees. Raises `Absent`."""
        return map(_parse, self.reads(oids))

    def _answers(self, verb: str, names: Sequence[str]) -> Iterator[Answer]:
        for start in range(0, len(names), ASKED_AT_ONCE):
            yield from self._ask(verb, names[start : start + ASKED_AT_ONCE])

    def _ask(self, verb: str, names: Sequence[str]) -> list[Answer]:
        written = [name.encode("utf-8", "surrogateescape") for name in names]
        with self._turn:
            for _ in range(2):  # the process may have been killed since the last request
                try:
                    return self._exchange(verb.encode(), written)
                except (BrokenPipeError, EOFError):
                    self._process = self._start()
                except BaseException:  # such as Ctrl-C: its remaining answers belong to this request
                    self._process = self._start()
                    raise
        raise Broken(self._why(names))

    def _exchange(self, verb: bytes, names: Sequence[bytes]) -> list[Answer]:
        stdin, out = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101  both are pipes
        assert out is not None  # noqa: S101
        # A name with a line break names no object, and neither does its replacement.
        requests = [b"%s %s\n" % (verb, b"." if b"\n" in name else name) for name in names]
        stdin.write(b"".join([*requests, b"flush\n"]))
        stdin.flush()
        answers: list[Answer] = []
        for _ in names:
            line = out.readline()
            if not line:
                raise EOFError
            header = _header(line)
            answers.append((header, out.read(header.size + 1)[:-1] if header and verb == b"contents" else b""))
        return answers

    def _why(self, names: Sequence[str]) -> str:
        """Find out why git ended: repeat the requests one by one, until it fails with a message."""
        version = command.run(self.around, "version").strip().removeprefix("git version ")
        least = ".".join(map(str, command.LEAST))
        words = f"it exited without a message. llmops needs git {least} or later, this is {version}"
        for name in names:
            try:
                command.run(self.around, "cat-file", "-t", name)
            except command.GitFailed as error:
                words = error.words
                break
        if "promisor remote" in words:
            return str(lacking("the missing objects", words))
        return f"git cannot read the repository at {self.around}: {words}. Run `git fsck`."


def lacking(what: str, words: str) -> Broken:
    """The error for objects that a partial clone lacks and its remote does not provide."""
    return Broken(
        f"this is a partial clone, and its git remote does not provide {what}: {words}. "
        "Try again when it is reachable; `git fetch --refetch --no-filter` fetches everything."
    )


def _header(line: bytes) -> Header | None:
    *name, last = line.split()
    if last in MISSING or len(name) != 2:  # noqa: PLR2004  id and kind
        return None
    return Header(name[0].decode(), name[1].decode(), int(last))


def _parse(data: bytes) -> dict[str, Entry]:
    return {
        name.decode("utf-8", "surrogateescape"): Entry(intern(mode.decode()), oid.hex())
        for mode, name, oid in ENTRY.findall(data)
    }


def changed(objects: Objects, old: str, new: str, prefix: str = "") -> Iterator[str]:
    """List the paths of files that differ between two trees ('' is an empty one), some of them twice.

    Folders that are the same are not read. Raises `Absent` when a tree is missing.
    """
    sides = [set(ENTRY.findall(objects.read(oid))) if oid else set() for oid in (old, new)]
    folders: dict[str, list[str]] = {}
    for number, side in enumerate(sides):
        for mode, name, oid in side - sides[1 - number]:
            path = f"{prefix}{name.decode('utf-8', 'surrogateescape')}"
            if mode == FOLDER:
                folders.setdefault(path, ["", ""])[number] = oid.hex()
            else:
                yield path
    for path, (old_oid, new_oid) in folders.items():
        yield from changed(objects, old_oid, new_oid, f"{path}/")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
