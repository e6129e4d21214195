"""Installs peers and matplotlib into a virtual environment of their own, because their versions conflict with ours.

Effects: makes a virtual environment, downloads packages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONSTRAINTS = HERE / "constraints.txt"
PACKAGES = ("check-jsonschema", "dvc", "gto", "matplotlib")
MADE_OF = "constraints.txt"
"""The file in an environment with the constraints that it was made with."""


def install(at: Path) -> str:
    """Make the environment, unless it exists; return the error, or ''."""
    marker = at / MADE_OF
    if marker.exists() and marker.read_bytes() == CONSTRAINTS.read_bytes():
        return ""
    shutil.rmtree(at, ignore_errors=True)
    pip = [str(at / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(at)], [*pip, "--constraint", str(CONSTRAINTS), *PACKAGES]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            return f"it cannot be installed: {why[-1] if why else f'pip ended with {done.returncode}'}"
    shutil.copyfile(CONSTRAINTS, marker)
    return ""


def find(at: Path, program: str) -> str | None:
    """Return the path of a program: in the environment, else on the path; None if there is none."""
    return shutil.which(program, path=at / "bin") or shutil.which(program)
