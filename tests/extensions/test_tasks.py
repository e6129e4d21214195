"""A training task from outside of the package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests import tiny
from tests.conftest import PLUGINS, Shell
from tests.extensions.conftest import install
from tests.repos import Repo
from tests.trees import spec

SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"


def school(training: str, format_: str = "text") -> dict[str, str]:
    rows = '{"text": "abc"}\n{"text": "abd"}\n' if format_ == "text" else '{"prompt": "a", "completion": "b"}\n'
    return {
        "llmops.yaml": SETTINGS,
        "kb/rows.jsonl": rows,
        "specs/base.yaml": spec("Model", "base", "source: {path: models/base}"),
        "specs/rows.yaml": spec("Dataset", "rows", f"format: {format_}\nsources: [{{path: kb/rows.jsonl}}]"),
        "specs/tuned.yaml": spec("Training", "tuned", f"base: base\ndatasets: [{{name: rows}}]\n{training}"),
    }


@pytest.mark.slow
def test_it_trains_once_it_is_installed(repo: Repo, environment: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.model(tmp_path / "base"), repo.folder / "models/base")
    repo.commit(school("task: backwards\narguments: {max_steps: 2, max_length: 16}"))
    install(environment, PLUGINS / "tasks" / "backwards.py", "[llmops.tasks]\nbackwards = shop_plugins:TASK\n")

    def llmops(command: str) -> subprocess.CompletedProcess[str]:
        argv = [str(environment / "bin" / "python"), "-m", "llmops", command]
        return subprocess.run(argv, cwd=repo.folder, capture_output=True, text=True, check=False)

    assert llmops("init").returncode == Exit.WELL
    applied = llmops("apply")
    assert applied.returncode == Exit.WELL, applied.stderr
    assert "Training/tuned: done" in applied.stderr


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("training", "format_", "problem"),
    [
        ("task: backward", "text", '$.spec.task: "backward" is not allowed here. Did you mean "backwards"?'),
        ("task: backwards\nfinetuning: lora", "text", "$.spec.finetuning: backwards trains every weight."),
        (
            "task: backwards",
            "prompt_completion",
            "$.spec.datasets[0].name: backwards does not support the format of Dataset/rows",
        ),
    ],
    ids=["a slip in its name", "its own rule", "a format that it does not take"],
)
def test_its_rules_are_those_of_the_spec(repo: Repo, llmops: Shell, training: str, format_: str, problem: str) -> None:
    repo.commit(school(training, format_) | {"models/base/model.safetensors": "", "models/base/config.json": "{}"})

    assert llmops("check") == Exit.NO
    assert problem in llmops.out + llmops.err
