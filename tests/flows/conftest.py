"""Repositories that several scenes begin with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests import served
from tests.comparing import schoolbook
from tests.conftest import Shell
from tests.keys import SshKey
from tests.maintenance import age, better
from tests.repos import Repo
from tests.trees import spec, system


class Copies:
    """Repositories that took long to make: made once, and copied for each test."""

    def __init__(self) -> None:
        self._made: dict[str, Path] = {}

    def give(self, name: str, repo: Repo, make: Callable[[], None], spare: Path) -> None:
        """Make what a name stands for in a repository, or put a copy of it there."""
        if name in self._made:
            for part in ("work", "remote.git"):
                shutil.rmtree(repo.folder.parent / part)
                shutil.copytree(self._made[name] / part, repo.folder.parent / part)
            repo.git("remote", "set-url", "origin", str(repo.remote))
            return
        make()
        for part in ("work", "remote.git"):
            shutil.copytree(repo.folder.parent / part, spare / part)
        self._made[name] = spare


@pytest.fixture(scope="session")
def copies() -> Copies:
    return Copies()


@pytest.fixture
def kitchen(repo: Repo, llmops: Shell, copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Three dishes that were made."""

    def make() -> None:
        repo.commit(
            {
                "specs/flour.yaml": spec("Dish", "flour", "text: flour"),
                "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}"),
                "specs/bread.yaml": spec("Dish", "bread", "{text: bread, of: [dough]}"),
            }
        )
        repo.git("push", "--quiet")
        assert llmops("init") == Exit.WELL
        assert llmops("apply") == Exit.WELL

    copies.give("kitchen", repo, make, tmp_path_factory.mktemp("kitchen"))
    return llmops


@pytest.fixture
def changed(kitchen: Shell, copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The same a month after HEAD changed two of them."""

    def make() -> None:
        better(kitchen, "dough", "sourdough")
        age(kitchen)

    copies.give("changed", kitchen.repo, make, tmp_path_factory.mktemp("changed"))
    return kitchen


@pytest.fixture
def stage(repo: Repo, llmops: Shell) -> Iterator[Shell]:
    """A repository that declares a deployment, which was not applied."""
    repo.commit({"llmops.yaml": served.SETTINGS, **served.MODEL, "specs/chat.yaml": served.deployment("one ")})
    assert llmops("init") == Exit.WELL
    yield llmops
    llmops("stop")


@pytest.fixture
def live(stage: Shell) -> Shell:
    """The deployment, live, of which no other revision stays warm."""
    release_once_more(stage, "one")
    return stage


@pytest.fixture
def thrice(live: Shell) -> Shell:
    """Two more revisions, each with a model of its own."""
    for number in ("two", "three"):
        release_once_more(live, number)
    age(live)
    return live


def release_once_more(shell: Shell, text: str) -> None:
    chat = served.deployment(f"{text} ", more="keep_warm: {revisions: 0}")
    shell.repo.commit({"models/m/model.safetensors": text, "specs/chat.yaml": chat})
    shell.repo.git("push", "--quiet")
    assert shell("apply") == Exit.WELL


@pytest.fixture
def judged(repo: Repo, llmops: Shell) -> Repo:
    """A repository whose evaluation names its metric, with evidence that it is good."""
    llmops.begin(system().edited("specs/sums.yaml", "dataset: rows}", "dataset: rows, metric: acc}"))
    return repo


@pytest.fixture
def filled(repo: Repo, llmops: Shell) -> Shell:
    """A repository with the small system and a ledger."""
    llmops.begin(system())
    return llmops


@pytest.fixture
def prepared(repo: Repo, llmops: Shell) -> Shell:
    """A repository with one dataset and a ledger."""
    corpus = spec("Dataset", "corpus", "format: text\nsources: [{path: data/corpus.txt}]")
    llmops.begin({"specs/corpus.yaml": corpus, "data/corpus.txt": "A text.\n"})
    return llmops


@pytest.fixture
def books(repo: Repo, llmops: Shell) -> Repo:
    """A repository with subjects to compare, and a ledger."""
    llmops.begin(schoolbook())
    return repo


@pytest.fixture(scope="session")
def ann(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey(tmp_path_factory.mktemp("ann"), "ann")


@pytest.fixture(scope="session")
def eve(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey(tmp_path_factory.mktemp("eve"), "eve")


@pytest.fixture
def unsigned(repo: Repo, llmops: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A repository with one dish, where nothing is signed and no variable says whom to trust."""
    for name in ("LLMOPS_TRUST", "LLMOPS_TRUSTED_KEYS", "LLMOPS_SIGNING_KEY", "LLMOPS_LEDGER_KEYS"):
        monkeypatch.delenv(name, raising=False)
    llmops.begin({"specs/flour.yaml": spec("Dish", "flour", "text: flour")})
    return llmops
