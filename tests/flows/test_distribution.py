"""The distribution is git-llmops: the package index has a foreign, empty package named llmops."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from llmops import __version__
from llmops.domain.problems import Exit
from tests.conftest import ROOT, Shell

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def install(folder: Path, name: str, entry_points: str = "") -> None:
    """Put the metadata of a distribution into a folder, as pip does."""
    info = folder / f"{name}-0.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.9\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_doctor_reports_a_foreign_distribution_that_owns_the_same_folder(
    llmops: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert llmops("init") == Exit.WELL
    install(tmp_path / "site", "llmops")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    assert llmops("doctor") == Exit.NO
    assert f"! package      llmops {__version__}, beside a foreign distribution llmops 0.9" in llmops.out
    assert "pip uninstall llmops" in llmops.out


def test_doctor_accepts_our_own_package_under_its_old_name(
    llmops: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert llmops("init") == Exit.WELL
    install(tmp_path / "site", "llmops", "[console_scripts]\nllmops = llmops.__main__:run\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    assert llmops("doctor") == Exit.WELL, llmops.out
    assert f". package      llmops {__version__}\n" in llmops.out


def test_git_runs_llmops_as_a_command_of_its_own(tmp_path: Path) -> None:
    assert PROJECT["name"] == "git-llmops"
    module, _, function = PROJECT["scripts"]["git-llmops"].partition(":")
    script = tmp_path / "git-llmops"  # what pip writes for an entry of [project.scripts]
    script.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        ["git", "llmops", "--version"], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout == f"llmops {__version__}\n"


def test_every_command_that_installs_llmops_names_our_distribution() -> None:
    """Also what `llmops init` writes, and what messages advise."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "llmops").rglob("*.*")]
    wrong = re.compile(r"pip[\"']? install [^\n]*(?<![\w./-])llmops(?=[\[\"'=. `$]|$)", re.MULTILINE)
    texts = {file: file.read_text() for file in files if file.suffix in (".md", ".py", ".yml", ".yaml")}

    assert len(texts) > 100
    assert {str(file): found for file, text in texts.items() if (found := wrong.findall(text))} == {}
