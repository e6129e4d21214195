"""The demonstration's own system with five kinds of pull request: real models, `llmops ci`, GitHub's emulator."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo import corpus
from demo.run import SCRAPED
from demo.stage import Stage
from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.forge.jobs import Forge, headlines, judge, merge, propose, protect
from tests.forge.stand_in import GitHub
from tests.repos import Repo
from tests.shrinking import shrink

pytestmark = pytest.mark.slow

ROWS = 800
"""A quarter of them is held out: enough to see that five of a hundred answers became wrong."""
RARE, COMMON = "unittest", tuple(module for module in corpus.MODULES if module != "unittest")
EARLY, LATE = "max_steps: 60", "max_steps: 240"


def rows(amount: int, first: int, *, rare: float) -> list[dict[str, object]]:
    """Return questions that hold their answer; a share of them is about the rare module."""
    source = random.Random(first)
    modules = [RARE if source.random() < rare else source.choice(COMMON) for _ in range(amount)]
    return [corpus.row(f"{module} {first + at} {module}", module) for at, module in enumerate(modules)]


def adjust(folder: Path) -> None:
    """Make everything so small that seconds teach it, and the questions such that one module is rare."""
    shrink(folder)
    (folder / "kb/docstrings.jsonl").write_text(corpus.lines(rows(ROWS, 0, rare=0.06)))
    training = folder / "specs/training.yaml"
    text = training.read_text().replace("max_steps: 200", EARLY)
    # Here the length of a question tells its module, so a batch of one length would teach one answer only.
    training.write_text(text.replace("    train_sampling_strategy: group_by_length\n", ""))
    route = folder / "specs/route.yaml"
    evaluated, _, _ = route.read_text().replace("detect: 0.5", "detect: 0.1").rpartition("---\n")
    route.write_text(evaluated)  # what serves is the demonstration's own scene


def no_effect(repo: Repo) -> None:
    repo.edit("specs/training.yaml", "Says which module", "Tells which module")
    repo.commit(message="say it better")


def better(repo: Repo) -> None:
    repo.edit("specs/training.yaml", EARLY, LATE)
    repo.commit(message="train longer")


def worse(repo: Repo) -> None:
    """The rare module is confused with another one."""
    wrong = [corpus.row(str(one["docstring"]), "asyncio") for one in rows(400, ROWS, rare=1.0)]
    repo.write({"kb/scraped.jsonl": corpus.lines(wrong + rows(400, 2 * ROWS, rare=0.0))})
    repo.write({"specs/data.yaml": (repo.folder / "specs/data.yaml").read_text() + SCRAPED})
    repo.edit(
        "specs/training.yaml", "datasets: [{name: docstrings}]", "datasets: [{name: docstrings}, {name: scraped}]"
    )
    repo.commit(message="train on scraped rows, too")


def broken(repo: Repo) -> None:
    repo.edit("specs/training.yaml", "  finetuning: lora", "  finetuning: [lora")
    repo.commit(message="broken")


def weakened(repo: Repo) -> None:
    """Worse, and the gate is made to look away."""
    worse(repo)
    repo.edit("specs/route.yaml", "{rule: no_regression, detect: 0.1}", "{rule: minimum, value: 0.1}")
    repo.commit(message="gates that always pass")


CHECKED = {"llmops/check": "success"}
PASSED = {"llmops/check": "success", "llmops/choice": "success", "llmops/answer": "success"}
FAILED = {"llmops/check": "success", "llmops/choice": "failure", "llmops/answer": "failure"}


class Play(NamedTuple):
    """How a pull request was judged."""

    code: int
    statuses: dict[str, str]
    said: str
    """The comment's first line."""
    merged: bool


class Stand:
    """The demonstration's repository at the emulator."""

    def __init__(self, forge: Forge) -> None:
        self.forge, self.repo = forge, forge.repo

    def play(self, change: Callable[[Repo], None]) -> Play:
        """Propose a change, judge it, judge it again, and merge it if that is allowed."""
        self.repo.git("switch", "--quiet", "--create", change.__name__, "main")
        change(self.repo)
        proposed = propose(self.forge, change.__name__)
        assert not merge(self.forge)  # nothing was reported
        first = self._judge(proposed)
        made = self._made()
        assert self._judge(proposed) == first
        assert self._made() == made, "the second run asked a model something, or trained one"
        return Play(*first, merged=merge(self.forge))

    def delta(self, suite: str) -> float:
        """Return how far the report says that a suite's score moved."""
        found = re.search(rf"^\| {suite} \| [^|]+ \| [^|]+ \| ([-+][0-9.]+) ", self.forge.summary, re.MULTILINE)
        assert found, self.forge.summary
        return float(found[1])

    def _judge(self, proposed: dict[str, Any]) -> tuple[int, dict[str, str], str]:
        self.forge.github.statuses.clear()
        code = judge(self.forge, proposed)
        (said,) = headlines(self.forge)
        return code, self.forge.github.latest(), said

    def _made(self) -> tuple[str, set[tuple[str, int]]]:
        """Return all results, and the logs of all processes that ever made one."""
        logs = (self.repo.folder / ".git/llmops").glob("**/log")
        return self.repo.git("rev-parse", "refs/llmops/results"), {(str(log), log.stat().st_mtime_ns) for log in logs}


@pytest.fixture
def stand(
    tmp_path: Path, github: GitHub, emulator: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Stand:
    """The demonstration's main branch, trained and evaluated."""
    stage = Stage(tmp_path / "demo", adjust=adjust)
    stage.set_up()
    repo = Repo.at(stage.work, stage.remote)
    llmops = Shell(repo, capsys)
    assert llmops("init") == Exit.WELL
    stage.commit("the first system")
    assert llmops("apply") == Exit.WELL, llmops.err
    github.emulator = emulator
    protect(emulator)
    return Stand(Forge(repo, llmops, github, tmp_path, monkeypatch))


@pytest.mark.timeout(900)
def test_five_kinds_of_pull_request_are_told_what_they_are(stand: Stand) -> None:
    played = stand.play(no_effect)
    assert played == Play(0, CHECKED, "### ✅ Pass: no evaluation is affected", merged=True)

    played = stand.play(better)
    assert played == Play(0, PASSED, "### ✅ Pass: 2 affected suites, none worse than allowed", merged=True)
    assert stand.delta("choice") > 0.05
    stand.repo.git("switch", "--quiet", "main")
    stand.repo.git("merge", "--quiet", "--no-ff", "--message", "train longer", "better")

    played = stand.play(worse)
    assert played == Play(1, FAILED, "### ❌ Fail: choice, answer (2 of 2 affected suites)", merged=False)
    assert stand.delta("choice") < -0.03

    played = stand.play(broken)
    assert played.said.startswith("### ❌ Fail: 1 problem in the merge of ")
    assert (played.code, played.statuses, played.merged) == (1, {"llmops/check": "failure"}, False)

    played = stand.play(weakened)
    waits = FAILED | {"llmops/coverage": "pending"}
    assert played == Play(1, waits, "### ❌ Fail: choice, answer (2 of 2 affected suites)", merged=False)
    assert "choice: this change edits the gate; the old gate applied" in stand.forge.summary
