"""An environment of its own, into which distributions can be put."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with llmops and all that this one has, and nothing announced."""
    made = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    site = next(made.glob("lib/python*/site-packages"))
    here = [str(ROOT), sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "shared.pth").write_text("\n".join(dict.fromkeys(here)))
    return made
