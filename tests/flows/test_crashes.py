"""kill -9 at every point of an apply: the next one converges, nothing is done twice, without help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmops.domain.orders import LOCK
from llmops.domain.problems import Exit
from llmops.host import file_locks
from llmops.ledger import ledger
from tests.conftest import SOAK, Shell
from tests.crashing import crash
from tests.repos import Repo
from tests.trainings import ARCHITECTURE
from tests.trees import spec
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")

POINTS = [f"{when} {what}" for what in ("state", "start", "result", "push") for when in ("before", "after")]


def kitchen(repo: Repo, llmops: Shell, seconds: float = 0.0) -> None:
    repo.commit(
        {
            "specs/flour.yaml": spec("Dish", "flour", f"{{text: flour, seconds: {seconds}}}"),
            "specs/dough.yaml": spec("Dish", "dough", f"{{text: dough, of: [flour], seconds: {seconds}}}"),
            "specs/menu.yaml": spec("Menu", "menu", "{dish: dough, courses: [{label: first}]}"),
        }
    )
    assert llmops("init") == Exit.WELL


def begun(counter: Path) -> list[str]:
    return [line.split()[1] for line in counter.read_text().splitlines() if line.startswith("begin")]


CASES = [(point, after) for point in POINTS for after in (range(8) if SOAK else [len(point) % 2 * 2])]
"""Each point, and how often it is passed before."""


@pytest.mark.parametrize(("point", "after"), CASES)
def test_an_apply_that_was_killed_is_taken_up_by_the_next(
    point: str, after: int, repo: Repo, llmops: Shell, plugins: Path
) -> None:
    kitchen(repo, llmops)
    crash(repo.folder, point, after)

    assert llmops("apply") == Exit.WELL

    assert sorted(begun(plugins)) == ["Dish/dough", "Dish/flour"], "something was done twice, or not at all"
    llmops.is_clean()


KINDS = ("(model|dataset)", *(("training", "(evaluation|deployment)") if SOAK else ("deployment",)))
"""The kinds that are made, dependencies first."""
STEPS = [f"{when} {what}" for what in ("state", "start", "store", "said", "result") for when in ("before", "after")]
"""Around the intent and its end, the start of the step's process, what it stores, what it says, and the result."""


def system() -> dict[str, str]:
    """One resource of every kind that is made; without the soak only those that need no training."""
    engine = "engine: {type: echo}\nstrategy: {canary: {steps: []}}\nprogress_deadline: 15s"
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gateway: {port: 0, drain: 1s}}\n"
    made = {
        "llmops.yaml": settings,
        "models/m/config.json": "{}",
        "models/m/model.safetensors": "x",
        "kb/corpus.txt": "The quick brown fox jumps over the lazy dog.\n" * 50,
        "specs/model.yaml": spec("Model", "m", "source: {path: models/m}\nstage: approved"),
        "specs/corpus.yaml": spec("Dataset", "corpus", "format: text\nsources: [{path: kb/corpus.txt}]"),
        "specs/chat.yaml": spec("Deployment", "chat", f"model: {'small' if SOAK else 'm'}\n{engine}"),
    }
    return made | trained() if SOAK else made


def trained() -> dict[str, str]:
    pretrain = (
        f"task: pretrain\narchitecture: {ARCHITECTURE}\ntokenizer: {{vocab_size: 300}}\ndatasets: [{{name: corpus}}]\n"
        "arguments: {max_steps: 8, per_device_train_batch_size: 4, max_length: 32}\ncheckpoint: {save_steps: 4}"
    )
    task = (
        'task: sums\noutput_type: multiple_choice\ndoc_to_text: "{{a}}"\ndoc_to_choice: [one, two]\ndoc_to_target: b\n'
    )
    suites = "[{task: evals/sums.yaml, dataset: sums, gate: {rule: minimum, value: 0}}]"
    return {
        "evals/sums.yaml": f"{task}metric_list:\n  - {{metric: acc, aggregation: mean, higher_is_better: true}}\n",
        "kb/sums.jsonl": '{"a": "1", "b": "one"}\n{"a": "2", "b": "two"}\n',
        "specs/sums.yaml": spec("Dataset", "sums", "format: rows\nsources: [{path: kb/sums.jsonl}]"),
        "specs/small.yaml": spec("Training", "small", pretrain),
        "specs/score.yaml": spec("Evaluation", "score", f"subject: {{model: small}}\nsuites: {suites}"),
    }


@pytest.mark.parametrize("point", STEPS if SOAK else ["before said"])
def test_every_kind_of_step_may_be_killed(point: str, repo: Repo, llmops: Shell) -> None:
    """Each apply goes on where the last one was killed, and is killed at the next kind of step."""
    repo.commit(system())
    assert llmops("init") == Exit.WELL
    try:
        # What has said all is done by the next attempt of the same apply, so that all kinds have their turn in it.
        for kind in ("",) if point == "after said" else KINDS:
            assert crash(repo.folder, f"{point}@{kind}", 0), "it was not killed"

        llmops.is_clean()

        units = {unit.digest for node in repo.desire().graph.nodes.values() for unit in node.units}
        assert ledger.units(repo.ledger()) == units
        orders = list(repo.workspace().work.glob("*-*"))
        assert len(orders) == len(units), "something has two orders"
        assert not any(file_locks.holder(folder / LOCK) for folder in orders), "a step still runs"
    finally:
        llmops("stop")


def test_work_that_outlives_its_apply_is_joined(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=3.0)
    assert crash(repo.folder, "after start", 0)
    wait_for(lambda: bool(begun(plugins)))

    assert llmops("apply") == Exit.WELL

    assert "joined dish-flour" in llmops.err
    assert begun(plugins) == ["Dish/flour", "Dish/dough"]


def test_work_that_was_killed_with_its_apply_is_begun_again(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=30.0)
    crash(repo.folder, "after start", 0)
    wait_for(lambda: bool(begun(plugins)))
    os.kill(int(plugins.read_text().split()[2]), signal.SIGKILL)
    repo.edit("specs/flour.yaml", "seconds: 30.0", "seconds: 0.0")  # in no digest: the same unit
    repo.edit("specs/dough.yaml", "seconds: 30.0", "seconds: 0.0")
    repo.commit()

    assert llmops("apply") == Exit.WELL
    assert begun(plugins) == ["Dish/flour", "Dish/flour", "Dish/dough"]


def test_work_that_nobody_wants_any_more_is_ended(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=60.0)
    crash(repo.folder, "after start", 0)
    wait_for(lambda: bool(begun(plugins)))
    pid = int(plugins.read_text().split()[2])
    repo.commit(
        {
            "specs/flour.yaml": spec("Dish", "flour", "text: rye"),
            "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}"),
        }
    )

    assert llmops("apply") == Exit.WELL

    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_two_at_once_do_everything_once(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=0.3)
    command = [sys.executable, "-m", "tests.crashing", "nowhere", "0", str(repo.folder), "apply"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    codes = sorted(process.wait() for process in both)

    assert codes in ([0, 0], [0, Exit.STALE], [0, Exit.HELD])
    assert sorted(begun(plugins)) == ["Dish/dough", "Dish/flour"]
