"""Training tasks as the planner sees them: light to import, and in agreement with the kind."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args

import msgspec
import pytest

from llmops.kinds.dataset import Format
from llmops.kinds.training import Training
from llmops.plugins.training_task import TrainingTask
from llmops.steps.training import in_process
from llmops.tasks import TASKS
from tests.conftest import ROOT


def test_listing_the_tasks_imports_no_heavy_library() -> None:
    script = "import sys; from llmops.tasks import TASKS; list(TASKS.values()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert "llmops" in imported
    assert not imported & {"torch", "transformers", "trl", "datasets", "ray"}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_one(name: str) -> None:
    task = TASKS[name]

    assert isinstance(task, TrainingTask)
    assert set(task.formats) <= set(get_args(Format))


@pytest.mark.parametrize(("name", "problems"), [("pretrain", ["arguments.packing"]), ("sft", [])])
def test_only_pretrain_refuses_packing(name: str, problems: list[str]) -> None:
    body = {"task": name, "base": "b", "datasets": [{"name": "d"}], "arguments": {"packing": True}}

    found = list(TASKS[name].check(msgspec.convert(body, Training)))

    assert [problem.at for problem in found] == problems


@pytest.mark.parametrize(("visible", "expected"), [(None, "0"), ("2,3", "2"), ("GPU-8f3a", "GPU-8f3a"), ("", "")])
def test_a_training_in_process_sees_one_gpu(
    visible: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Trainer would split each batch among all that it sees."""
    monkeypatch.setenv(in_process.DEVICES, visible or "")
    if visible is None:
        monkeypatch.delenv(in_process.DEVICES)

    in_process.see_one_gpu()

    assert os.environ[in_process.DEVICES] == expected
