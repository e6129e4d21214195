"""The hooks of pre-commit use the installed tools alone, and refuse what they are there to refuse."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.repos import Repo

CONFIG = ".pre-commit-config.yaml"


def test_every_hook_is_local_and_its_program_is_installed() -> None:
    repos = yaml.safe_load((ROOT / CONFIG).read_text())["repos"]
    programs = [Path(shlex.split(hook["entry"])[0]) for repo in repos for hook in repo["hooks"]]

    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for repo in repos for hook in repo["hooks"]} == {"system"}
    assert {str(program.parent) for program in programs} == {".venv/bin"}
    assert [program.name for program in programs if not (Path(sys.prefix) / "bin" / program.name).exists()] == []


def test_large_files_bad_settings_and_bad_code_are_refused(repo: Repo, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "specs" / "schemas", repo.folder / "specs" / "schemas")
    shutil.copy(ROOT / CONFIG, repo.folder)
    (repo.folder / ".venv").symlink_to(sys.prefix)
    repo.write(
        {
            ".gitignore": ".venv\n",
            "weights.bin": b"\0" * 600_000,
            "llmops.yaml": "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {environmnet: local}\n",
            "tool.py": "import os\n",
            "page.md": "Fine.\n",
        }
    )
    repo.git("add", "--all")
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "PATH": f"/usr/bin:{os.environ['PATH']}"}

    done = subprocess.run(
        [Path(sys.prefix) / "bin" / "pre-commit", "run", "--all-files"],
        cwd=repo.folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    refused = {line.partition("..")[0] for line in done.stdout.splitlines() if line.endswith("Failed")}
    assert refused == {"no file above 500 kB", "ruff check", "settings fit their schema", "our specs have no problem"}
    assert "weights.bin (586 KB) exceeds 500 KB" in done.stdout
    assert "'environmnet' was unexpected" in done.stdout
