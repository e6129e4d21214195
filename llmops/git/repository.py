"""folder -> repository: where it is, what its objects are, and what its remotes have that it lacks.

Effects: runs git, fetches what a partial clone lacks.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops.domain.problems import Broken, Misused
from llmops.git import command, objects
from llmops.git.objects import Objects

FETCH = "fetch --quiet --no-tags --no-write-fetch-head --recurse-submodules=no --filter=blob:none --stdin".split()
_ASKED = ("--absolute-git-dir", "--git-common-dir", "--is-bare-repository", "--is-shallow-repository")


class Repository:
    """A git repository of this machine."""

    def __init__(self, objects: Objects, folder: Path, common: Path, *, is_bare: bool, is_shallow: bool) -> None:
        self.objects, self.around = objects, objects.around
        """What git holds, and the folder that was asked for, where git runs: what it trusts, it knows by that."""
        self.folder, self.common = folder, common
        """Its git directory, and the one that all linked worktrees share."""
        self.is_bare, self.is_shallow = is_bare, is_shallow

    @cached_property
    def top(self) -> Path:
        """Where git commands run: the work tree, or the git directory of a bare repository."""
        return (
            self.folder
            if self.is_bare
            else Path(command.run(self.around, "rev-parse", "--show-toplevel").removesuffix("\n"))
        )

    @cached_property
    def native(self) -> Any:
        """The same as a `pygit2.Repository`, for what walks through history.

        Imported when it is asked for: it takes as long as all the rest of a plan. Raises `Broken` when libgit2 does not
        open it.
        """
        pygit2 = importlib.import_module("pygit2")
        try:
            return pygit2.Repository(str(self.folder))
        except pygit2.GitError as error:
            raise Broken(f"cannot read the repository at {self.folder}: {str(error).rstrip('.')}.") from None

    @cached_property
    def remotes(self) -> frozenset[str]:
        """The names of its remotes."""
        if not self._mentions("[remote"):
            return frozenset()
        return frozenset(command.run(self.around, "remote").split())

    @cached_property
    def promisor(self) -> str:
        """Name the remote that has what a partial clone lacks; '' when this is none."""
        if not self._mentions("promisor"):
            return ""
        try:
            listed = command.run(self.around, "config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$")
        except command.GitFailed:
            return ""
        return listed.splitlines()[0].removeprefix("remote.").removesuffix(".promisor")

    def _mentions(self, word: str) -> bool:
        """Whether git's configuration of this repository can say something: to ask git itself takes a process."""
        text = (self.common / "config").read_text(errors="replace").lower()
        own = self.folder / "config.worktree"
        if "worktreeconfig" in text and own.exists():  # git-worktree(1), CONFIGURATION FILE
            text += own.read_text(errors="replace").lower()
        return word in text or "[include" in text

    def bring(self, *listing: str) -> None:
        """Fetch, in one go, what a partial clone lacks of what `git rev-list --objects` lists.

        As git does (fetch_objects in its promisor-remote.c). Raises `Broken` when the remote cannot be reached.
        """
        if not self.promisor:
            return
        listed = command.run(self.around, "rev-list", "--objects", "--missing=print", "--no-object-names", *listing)
        self._fetch([line[1:] for line in listed.splitlines() if line.startswith("?")])

    def _fetch(self, lacking: Iterable[str]) -> None:
        oids = tuple(lacking)
        try:
            if oids:
                once = ("-c", "fetch.negotiationAlgorithm=noop")
                command.run(self.around, *once, *FETCH, self.promisor, stdin="\n".join(oids).encode())
        except command.GitFailed as error:
            raise objects.lacking(f"{len(oids)} objects that it lacks", error.words) from None


def discover(path: Path) -> Repository:
    """Find the repository that holds a folder. Raises `Misused` when there is none, `Broken` when git cannot use it."""
    around = path.resolve()
    held = Objects(around)  # gets ready meanwhile
    try:
        folder, common, is_bare, is_shallow, form = _ask(around)
    except command.GitFailed as error:
        if "not a git repository" in error.words:
            raise Misused(f"{around} is not in a git repository. Run `git init`, then `llmops init`.") from None
        raise Broken(f"cannot read the repository around {around}: {_unreadable(error.words)}") from None
    if form != "sha1":
        raise Broken(f"cannot read the repository at {folder}: SHA-256 repositories are not supported yet.")
    return Repository(
        held,
        Path(folder),
        (around / common).resolve(),
        is_bare=is_bare == "true",
        is_shallow=is_shallow == "true",
    )


def _ask(around: Path) -> list[str]:
    """Ask git all at once; one by one where a path has a line break in it, so that the answers have more lines."""
    asked = (*_ASKED, "--show-object-format")
    answers = command.run(around, "rev-parse", *asked).split("\n")[:-1]
    if len(answers) == len(asked):
        return answers
    return [command.run(around, "rev-parse", one).removesuffix("\n") for one in asked]


def _unreadable(words: str) -> str:
    """Say why git does not open a repository, and what to do."""
    if "dubious ownership" in words:
        return f"another user owns it. If you trust it: {words.splitlines()[-1].strip()}"  # the command, in git's words
    return f"{words.rstrip('.')}."
