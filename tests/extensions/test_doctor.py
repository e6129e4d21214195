"""`doctor` names the plug-ins of installed distributions, and those that do not work."""

from __future__ import annotations

import subprocess
from pathlib import Path

from llmops.domain.problems import Exit
from tests.conftest import PLUGINS
from tests.extensions.conftest import install
from tests.repos import Repo

ENTRY_POINTS = """\
[llmops.parsers]
csv_table = shop_plugins:PARSER
[llmops.engines]
lost = shop_plugins.lost:ENGINE
"""


def test_doctor_lists_plug_ins_and_what_each_lacks(repo: Repo, environment: Path) -> None:
    install(environment, PLUGINS / "parsers" / "csv_table.py", ENTRY_POINTS)
    python = str(environment / "bin" / "python")

    subprocess.run([python, "-m", "llmops", "init"], cwd=repo.folder, check=True, capture_output=True)
    done = subprocess.run(
        [python, "-m", "llmops", "doctor"], cwd=repo.folder, capture_output=True, text=True, check=False
    )

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert ". plug-in csv_table llmops.parsers, from shop_plugins:PARSER" in lines
    assert "! plug-in lost llmops.engines, from shop_plugins.lost:ENGINE, does not work" in lines
    assert "No module named 'shop_plugins.lost'" in done.stdout
    assert done.returncode == Exit.NO
