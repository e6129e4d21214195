"""name -> object: what git holds, read through one `git cat-file` that stays.

libgit2 would do the same, but to import it takes as long as a whole plan. Protocol:
https://git-scm.com/docs/git-cat-file#_batch_output, and of trees https://git-scm.com/docs/git-mktree (raw form: mode,
space, name, NUL, id). In a partial clone git brings an object that is read, one at a time.

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
"""How many objects are held at once. git reads every question up to `flush` before it answers, so none waits."""
ENTRY = re.compile(rb"(\d+) ([^\0]+)\0(.{20})", re.DOTALL)
"""One entry of a tree, with an id of 20 bytes (SHA-1)."""
FOLDER = b"40000"
"""The mode of a folder."""
MISSING = (b"missing", b"ambiguous")


class Absent(Broken):
    """An object is not here."""


class Header(Struct, frozen=True, gc=False):
    """What an object is, without what is in it."""

    oid: str
    kind: str
    """blob, tree, commit or tag."""
    size: int


Answer: TypeAlias = tuple[Header | None, bytes]
"""What an object is, None when it is not here, and what is in it when that was asked for."""


class Entry(Struct, frozen=True, gc=False):
    """One entry of a folder."""

    mode: str
    """As git writes it: 100644, 100755, 120000 (symbolic link), 160000 (submodule), 40000 (folder)."""
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode == "40000"


class Objects:
    """The objects of a repository, and its refs as names of them."""

    def __init__(self, around: Path) -> None:
        self.around = around
        self._turn = threading.Lock()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        started = command.attach(self.around, "cat-file", "--batch-command", "--buffer")
        weakref.finalize(self, _end, started).atexit = False  # then it ends by itself: nobody can ask it any more
        return started

    def find(self, name: str) -> Header | None:
        """Say what a name means: an id, a ref, ``HEAD~2``, ``main^{tree}``. None when there is nothing like that."""
        return self.finds([name])[0]

    def finds(self, names: Sequence[str]) -> list[Header | None]:
        """Say what several names mean."""
        return [found for found, _ in self._answers("info", names)]

    def read(self, oid: str) -> bytes:
        """Give what an object holds. Raises `Absent` when it is not here."""
        return next(self.reads([oid]))

    def reads(self, oids: Sequence[str]) -> Iterator[bytes]:
        """Give what several objects hold, in their order. Raises `Absent` for one that is not here."""
        for oid, (found, data) in zip(oids, self._answers("contents", oids), strict=True):
            if found is None:
                raise Absent(f"{oid} is not in this repository, or is damaged. See `git fsck`.")
            yield data

    def folder(self, oid: str) -> dict[str, Entry]:
        """Give the entries of a tree by name, in git's order. Raises `Absent` when it is not here."""
        return next(self.folders([oid]))

    def folders(self, oids: Sequence[str]) -> Iterator[dict[str, Entry]]:
        """Give the entries of several trees. Raises `Absent` for one that is not here."""
        return map(_parse, self.reads(oids))

    def _answers(self, verb: str, names: Sequence[str]) -> Iterator[Answer]:
        for start in range(0, len(names), ASKED_AT_ONCE):
            yield from self._ask(verb, names[start : start + ASKED_AT_ONCE])

    def _ask(self, verb: str, names: Sequence[str]) -> list[Answer]:
        written = [name.encode("utf-8", "surrogateescape") for name in names]
        with self._turn:
            for _ in range(2):  # somebody may have ended the process since it was asked last
                try:
                    return self._exchange(verb.encode(), written)
                except (BrokenPipeError, EOFError):
                    self._process = self._start()
                except BaseException:  # such as Ctrl-C: what is still answered is not to what is asked next
                    self._process = self._start()
                    raise
        raise Broken(self._why(names))

    def _exchange(self, verb: bytes, names: Sequence[bytes]) -> list[Answer]:
        stdin, out = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101  both are pipes
        assert out is not None  # noqa: S101
        # No object has a name with a line in it; what git is asked then has none either.
        asked = [b"%s %s\n" % (verb, b"." if b"\n" in name else name) for name in names]
        stdin.write(b"".join([*asked, b"flush\n"]))
        stdin.flush()
        found: list[Answer] = []
        for _ in names:
            line = out.readline()
            if not line:
                raise EOFError
            header = _header(line)
            found.append((header, out.read(header.size + 1)[:-1] if header and verb == b"contents" else b""))
        return found

    def _why(self, names: Sequence[str]) -> str:
        """Find out, in git's own words, why it ended: ask the same once more, one by one."""
        version = command.run(self.around, "version").strip().removeprefix("git version ")
        words = (
            f"it ended without a word. llmops needs git {'.'.join(map(str, command.LEAST))} or later, this is {version}"
        )
        for name in names:
            try:
                command.run(self.around, "cat-file", "-t", name)
            except command.GitFailed as error:
                words = error.words
                break
        if "promisor remote" in words:
            return str(lacking("what it lacks", words))
        return f"git cannot read the repository at {self.around}: {words}. See `git fsck`."


def lacking(what: str, words: str) -> Broken:
    """Say that a remote does not give what a partial clone lacks, and why."""
    return Broken(
        f"this is a partial clone, and its git remote does not give {what}: {words}. "
        "Try again when it is reachable; `git fetch --refetch --no-filter` brings everything."
    )


def _header(line: bytes) -> Header | None:
    *name, last = line.split()
    if last in MISSING or len(name) != 2:  # noqa: PLR2004  id and kind
        return None
    return Header(name[0].decode(), name[1].decode(), int(last))


def _parse(data: bytes) -> dict[str, Entry]:
    """Read a tree object."""
    found = ENTRY.findall(data)
    entries = ((name.decode("utf-8", "surrogateescape"), intern(mode.decode()), oid.hex()) for mode, name, oid in found)
    return {name: Entry(mode, oid) for name, mode, oid in entries}


def changed(objects: Objects, old: str, new: str, prefix: str = "") -> Iterator[str]:
    """Give the paths of files that are other in one tree than in another ('' is an empty one), some of them twice.

    Folders that are the same are not looked into. Raises `Absent` when a tree is not here.
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
    for path, (one, other) in folders.items():
        yield from changed(objects, one, other, f"{path}/")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
