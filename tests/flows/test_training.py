"""Trainings of real models: the same bytes in process, on Ray, and after a kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from llmops.domain.orders import LOCK
from llmops.domain.problems import Exit
from llmops.domain.records import Outcome
from llmops.ledger import ledger
from tests.clusters import Cluster
from tests.conftest import ROOT
from tests.repos import Repo
from tests.trainings import classroom, run, school
from tests.trees import spec

pytestmark = pytest.mark.slow


def outcome(repo: Repo, name: str) -> Outcome:
    outcomes = [ledger.outcome(repo.ledger(), unit) for unit in ledger.units(repo.ledger())]
    (found,) = (one for one in outcomes if one and one.key.name == name)
    return found


def made(repo: Repo, name: str) -> dict[str, str]:
    """Digests of what a training left, without its log: a resumed one averages its losses over other steps."""
    return {name: digest for name, digest in outcome(repo, name).outputs.items() if name != "log"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The outputs of an undisturbed run, in which an import of Ray is an error."""
    blocked = tmp_path_factory.mktemp("blocked")
    (blocked / "ray").mkdir()
    (blocked / "ray" / "__init__.py").write_text("raise RuntimeError('one worker needs no Ray')\n")
    with classroom(tmp_path_factory.mktemp("whole"), school()) as repo:
        done = run(repo, "apply", path=f"{blocked}{os.pathsep}{ROOT}")
        assert done.returncode == Exit.WELL, done.stderr
        return {name: made(repo, name) for name in ("small", "adder")}


@pytest.mark.parametrize(("name", "logged"), [("small", 1), ("adder", 3)])
def test_a_killed_training_resumes_from_its_checkpoint_and_ends_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, dict[str, str]], name: str, logged: int
) -> None:
    """Another repository, another store, kill -9 after the first checkpoint; a whole run logs that many losses."""
    with classroom(tmp_path, school()) as repo:
        folder = kill_after(f"training-{name}-*/scratch/checkpoints/[1-9]*", repo)
        log = folder / "log"
        before = log.read_text()

        again = run(repo, "apply")

        assert again.returncode == Exit.WELL, again.stderr
        assert {name: made(repo, name) for name in whole} == whole
        assert log.read_text().removeprefix(before).count("{'loss'") < logged, "it began anew instead of resuming"


def kill_after(pattern: str, repo: Repo, also: Callable[[Path], object] = bool) -> Path:
    """Kill an apply and its step at once after a path appears that meets a condition; return the order's folder."""
    command = [sys.executable, "-m", "llmops", "apply"]
    with (repo.folder.parent / "first").open("wb") as log:
        apply = subprocess.Popen(command, cwd=repo.folder, stdout=log, stderr=log)
    found = wait_for(lambda: next((path for path in work(repo).glob(pattern) if also(path)), None), apply)
    kill(apply.pid)
    apply.wait()
    folder = work(repo) / found.relative_to(work(repo)).parts[0]
    kill(step_of(folder))
    return folder


def work(repo: Repo) -> Path:
    return repo.workspace().work


def wait_for(look: Callable[[], Path | None], process: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + 240
    while (found := look()) is None:
        assert process.poll() is None, "apply ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def step_of(folder: Path) -> int:
    """Return the process that does an order."""
    return int((folder / LOCK).read_text().strip())


def kill(pid: int) -> None:
    """End a process at once; what it started (Ray's daemons) is to notice by itself."""
    psutil.Process(pid).send_signal(signal.SIGKILL)


def is_listed(checkpoint: Path) -> bool:
    """Whether Ray's list of checkpoints names this one: it is written in place, so a kill may cut it off."""
    snapshot = checkpoint.parent / "checkpoint_manager_snapshot.json"
    text = snapshot.read_text() if snapshot.exists() else ""
    return text.endswith("}") and checkpoint.name in text


def test_two_workers_give_the_same_bytes_after_a_kill_and_are_no_other_training(
    tmp_path: Path, whole: dict[str, dict[str, str]]
) -> None:
    pair = school(resources="{workers: 2}")
    del pair["specs/adder.yaml"]
    results = []
    for is_killed in (False, True):
        with classroom(tmp_path / str(is_killed), pair) as repo:
            if is_killed:
                folder = kill_after("training-small-*/scratch/ray/*/checkpoint_*", repo, is_listed)
            done = run(repo, "apply")
            assert done.returncode == Exit.WELL, done.stderr
            results.append((made(repo, "small"), ledger.units(repo.ledger())))

    assert results[0] == results[1]
    assert results[0][0].keys() == whole["small"].keys()
    last = (folder / "log").read_text().rpartition("Started training worker group")[2]
    # None are left where the kill came after the last checkpoint.
    assert last.count("Reporting training result") < 2 * 8 // 2, "it began anew instead of resuming"


def test_a_cluster_trains_it_as_a_job_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, dict[str, str]], cluster: Cluster
) -> None:
    config = f"{{address: '{cluster.address}', python: '{sys.executable}'}}"
    runner = f"{{type: ray, config: {config}, work: '{tmp_path / 'shared'}'}}"
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{runner: {runner}}}\n"
    with classroom(tmp_path, school() | {"llmops.yaml": settings}) as repo:
        done = run(repo, "apply")

        assert done.returncode == Exit.WELL, done.stderr
        assert {name: made(repo, name) for name in whole} == whole, "Ray and the step's own process differ"
        assert "ray" in outcome(repo, "small").provenance.environment


def test_a_training_that_cannot_be_done_says_why(tmp_path: Path) -> None:
    files = school(arguments="{max_steps: 8, max_length: 4096}") | {"kb/corpus.txt": "Only a few words.\n"}
    del files["specs/adder.yaml"]
    with classroom(tmp_path, files) as repo:
        done = run(repo, "apply")

        assert done.returncode == Exit.FAULT
        assert re.search(
            "training failed on its workers: ValueError: the data has .* fewer than one block of max_length 4096",
            done.stderr,
        )
        assert "Training/small" in done.stderr
        assert ledger.state(repo.ledger()).intents == {}  # type: ignore[union-attr]


def test_a_dataset_without_a_train_side_is_named(tmp_path: Path) -> None:
    files = school()
    del files["specs/adder.yaml"]
    split = "format: text\nsources: [{path: kb/corpus.txt}]\nsplit: {test_fraction: 0.9999}"
    files["specs/data.yaml"] = spec("Dataset", "corpus", split)
    with classroom(tmp_path, files) as repo:
        done = run(repo, "apply")

    assert done.returncode == Exit.FAULT
    assert "the train side of Dataset/corpus is empty. Give it more rows or a smaller test_fraction." in done.stderr


def test_what_was_trained_is_a_folder_that_transformers_loads(whole: dict[str, dict[str, str]]) -> None:
    assert set(whole["small"]) == {"model"}
    assert set(whole["adder"]) == {"adapter", "base"}
    assert whole["adder"]["base"] == whole["small"]["model"]
