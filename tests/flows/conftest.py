"""Repositories that several scenes begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmops.domain.problems import Exit
from tests import served
from tests.comparing import schoolbook
from tests.conftest import Shell
from tests.keys import SshKey
from tests.maintenance import age, better
from tests.repos import Copies, Repo
from tests.trees import spec, system


@pytest.fixture
def kitchen(repo: Repo, llmops: Shell, copies: Copies) -> Shell:
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

    copies("kitchen", repo, make)
    return llmops


@pytest.fixture
def changed(kitchen: Shell, copies: Copies) -> Shell:
    """The same a month after HEAD changed two of them."""

    def make() -> None:
        better(kitchen, "dough", "sourdough")
        age(kitchen)

    copies("changed", kitchen.repo, make)
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
def judged(repo: Repo, llmops: Shell, copies: Copies) -> Repo:
    """A repository whose evaluation names its metric."""
    files = system().edited("specs/sums.yaml", "dataset: rows}", "dataset: rows, metric: acc}")
    copies("judged", repo, lambda: llmops.begin(files))
    return repo


@pytest.fixture
def filled(repo: Repo, llmops: Shell, copies: Copies) -> Shell:
    """A repository with the small system and a ledger."""
    copies("filled", repo, lambda: llmops.begin(system()))
    return llmops


@pytest.fixture
def prepared(repo: Repo, llmops: Shell, copies: Copies) -> Shell:
    """A repository with one dataset and a ledger."""
    corpus = spec("Dataset", "corpus", "format: text\nsources: [{path: data/corpus.txt}]")
    files = {"specs/corpus.yaml": corpus, "data/corpus.txt": "A text.\n"}
    copies("prepared", repo, lambda: llmops.begin(files))
    return llmops


@pytest.fixture
def books(repo: Repo, llmops: Shell, copies: Copies) -> Repo:
    """A repository with subjects to compare, and a ledger."""
    copies("books", repo, lambda: llmops.begin(schoolbook()))
    return repo


@pytest.fixture(scope="session")
def ann(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey(tmp_path_factory.mktemp("ann"), "ann")


@pytest.fixture(scope="session")
def eve(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey(tmp_path_factory.mktemp("eve"), "eve")


@pytest.fixture
def unsigned(repo: Repo, llmops: Shell, copies: Copies, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A repository with one dish, where nothing is signed and no variable says whom to trust."""
    for name in ("LLMOPS_TRUST", "LLMOPS_TRUSTED_KEYS", "LLMOPS_SIGNING_KEY", "LLMOPS_LEDGER_KEYS"):
        monkeypatch.delenv(name, raising=False)
    files = {"specs/flour.yaml": spec("Dish", "flour", "text: flour")}
    copies("unsigned", repo, lambda: llmops.begin(files))
    return llmops
