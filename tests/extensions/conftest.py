"""An environment of its own, and distributions that are installed into it."""

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


def install(environment: Path, module: Path, entry_points: str) -> None:
    """Install a module as the package ``shop_plugins``, with its entry points."""
    package = environment.parent / "site" / "shop_plugins"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(module.read_text())
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "shop.pth").write_text(str(package.parent))
    (site / "shop_plugins-1.dist-info").mkdir()
    (site / "shop_plugins-1.dist-info" / "entry_points.txt").write_text(entry_points)
