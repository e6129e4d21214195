"""Finds the git repository around a folder, and fetches the objects that a partial clone lacks.

Effects: runs git, fetches what a partial clone lacks.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops.domain.problems import Broken, Misused
from llmops.git import command, objects
from llmops.git.objects import Objects

FETCH = "fetch --quiet --no-tags --no-write-fetch-head --recurse-submodules=no --filter=blob:none --stdin".split()
_ASKED = ("--absolute-git-dir", "--git-common-dir", "--is-bare-repository", "--is-shallow-repository")


class Repository:
    def __init__(self, objects: Objects, folder: Path, common: Path, *, is_bare: bool, is_shallow: bool) -> None:
        self.objects, self.around = objects, objects.around
        """Its objects, and the folder where git runs: the given one, by which git decides whether to trust it."""
        self.folder, self.common = folder, common
        """Its git directory, and the one that all linked worktrees share."""
        self.is_bare, self.is_shallow = is_bare, is_shallow

    @cached_property
    def top(self) -> Path:
        """The root of the work tree, or the git directory of a bare repository."""
        if self.is_bare:
            return self.folder
        return Path(command.run(self.around, "rev-parse", "--show-toplevel").removesuffix("\n"))

    @cached_property
    def native(self) -> Any:
        """The same as a `pygit2.Repository`, to walk through history. Raises `Broken` when libgit2 cannot open it."""
        pygit2 = importlib.import_module("pygit2")  # 80 ms
        try:
            return pygit2.Repository(str(self.folder))
        except pygit2.GitError as error:
            raise Broken(f"cannot read the repository at {self.folder}: {str(error).rstrip('.')}.") from None

    @cached_property
    def remotes(self) -> frozenset[str]:
        if not self._mentions("[remote"):
            return frozenset()
        return frozenset(command.run(self.around, "remote").split())

    @cached_property
    def promisor(self) -> str:
        """The name of the remote that a partial clone fetches missing objects from; '' for a full clone."""
        if not self._mentions("promisor"):
            return ""
        try:
            listed = command.run(self.around, "config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$")
        except command.GitFailed:
            return ""
        return listed.splitlines()[0].removeprefix("remote.").removesuffix(".promisor")

    def _mentions(self, word: str) -> bool:
        """Whether the configuration of this repository may contain a word. To ask git takes a process."""
        text = (self.common / "config").read_text(errors="replace").lower()
        own = self.folder / "config.worktree"
        if "worktreeconfig" in text and own.exists():  # git-worktree(1), CONFIGURATION FILE
            text += own.read_text(errors="replace").lower()
        return word in text or "[include" in text

    def bring(self, *listing: str) -> None:
        """Fetch at once the objects that a partial clone lacks of those that `git rev-list --objects` lists.

        As git does (fetch_objects in its promisor-remote.c). Raises `Broken` when the remote cannot be reached.
        """
        if not self.promisor:
            return
        listed = command.run(self.around, "rev-list", "--objects", "--missing=print", "--no-object-names", *listing)
        self._fetch([line[1:] for line in listed.splitlines() if line.startswith("?")])

    def _fetch(self, oids: Sequence[str]) -> None:
        try:
            if oids:
                once = ("-c", "fetch.negotiationAlgorithm=noop")
                command.run(self.around, *once, *FETCH, self.promisor, stdin="\n".join(oids).encode())
        except command.GitFailed as error:
            raise objects.lacking(f"{len(oids)} missing objects", error.words) from None


def discover(path: Path) -> Repository:
    """Find the repository around a folder. Raises `Misused` when there is none, `Broken` when git cannot read it."""
    around = path.resolve()
    reader = Objects(around)  # it starts in the meantime
    try:
        folder, common, is_bare, is_shallow, form = _ask(around)
    except command.GitFailed as error:
        if "not a git repository" in error.words:
            raise Misused(f"{around} is not in a git repository. Run `git init`, then `llmops init`.") from None
        raise Broken(f"cannot read the repository around {around}: {_unreadable(error.words)}") from None
    if form != "sha1":
        raise Broken(f"cannot read the repository at {folder}: SHA-256 repositories are not supported yet.")
    return Repository(
        reader,
        Path(folder),
        (around / common).resolve(),
        is_bare=is_bare == "true",
        is_shallow=is_shallow == "true",
    )


def _ask(around: Path) -> list[str]:
    """Ask git all at once; one by one if a path contains a line break, which makes more lines than answers."""
    options = (*_ASKED, "--show-object-format")
    answers = command.run(around, "rev-parse", *options).split("\n")[:-1]
    if len(answers) == len(options):
        return answers
    return [command.run(around, "rev-parse", option).removesuffix("\n") for option in options]


def _unreadable(words: str) -> str:
    """The reason why git does not open a repository, and a remedy."""
    if "dubious ownership" in words:
        return f"another user owns it. If you trust it: {words.splitlines()[-1].strip()}"  # the command, in git's words
    return f"{words.rstrip('.')}."
