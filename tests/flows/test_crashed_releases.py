"""kill -9 at every point of a release: the next apply goes on, nothing is left running, and no request fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmops.domain.problems import Exit
from tests.conftest import SOAK, Shell
from tests.crashing import PLACES, crash, points
from tests.repos import Repo
from tests.served import MODEL, SETTINGS, assert_nothing_else_runs, chat, content, in_two_steps, load, release

pytestmark = pytest.mark.usefixtures("plugins")

FEW = [("after program", 0), ("before routes", 1), ("after routes", 2), ("after state", 6), ("before end", 0)]
"""A replica was started and is not recorded; before it gets requests; with a part of them; live; before the old one ends."""


ON_THE_WAY = points({what: place for what, place in PLACES.items() if what not in ("start", "result")})
"""A release of a model that is prepared starts no step, and records no result."""


@pytest.fixture
def stage(repo: Repo, llmops: Shell) -> Iterator[Shell]:
    """One deployment, live."""
    repo.commit({"llmops.yaml": SETTINGS, **MODEL, "specs/chat.yaml": in_two_steps("r0")})
    assert llmops("init") == Exit.WELL
    assert llmops("apply") == Exit.WELL
    yield llmops
    llmops("stop")


def assert_it_goes_on(shell: Shell, tag: str) -> None:
    assert shell("apply") == Exit.WELL, shell.err
    shell.is_clean()
    assert content(chat(shell)[1]).startswith(tag)
    assert release(shell).rollout is None
    assert len(list((shell.repo.workspace().runtime / "replicas").iterdir())) == len(shell.repo.desire().graph.live)
    assert_nothing_else_runs(shell)


@pytest.mark.parametrize(("point", "after"), [(point, None) for point in ON_THE_WAY] if SOAK else FEW)
def test_a_release_that_was_killed_is_gone_on_with(point: str, after: int | None, stage: Shell) -> None:
    """Every round takes a new revision in, and takes a deployment away that the one before brought."""
    rounds = range(40) if after is None else [after]
    for number, passed in enumerate(rounds):
        other = f"specs/other{number}.yaml"
        stage.repo.git("rm", "--quiet", "--ignore-unmatch", f"specs/other{number - 1}.yaml")
        files = {"specs/chat.yaml": in_two_steps(f"r{number + 1}"), other: in_two_steps("x", f"other{number}")}
        stage.repo.commit(files)
        with load(stage) as clients:
            was_killed = crash(stage.repo.folder, point, passed)
            assert_it_goes_on(stage, f"r{number + 1}")
        assert clients.failed == []
        if not was_killed:
            assert after is None
            assert passed > 0, "no such point was passed"
            return
    assert after is not None, "there are more such points"
