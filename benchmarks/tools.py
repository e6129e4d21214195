"""Installs peers and matplotlib into a virtual environment of their own, because their versions conflict with ours.

Effects: makes a virtual environment, downloads packages.
"""

import shutil
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().with_name("constraints.txt")
PACKAGES = ("check-jsonschema", "dvc", "gto", "matplotlib")


def install(at: Path) -> str:
    """Make the environment, unless it exists; return the error, or ''."""
    marker = at / CONSTRAINTS.name  # a copy of the constraints that the environment was made with
    if marker.exists() and marker.read_bytes() == CONSTRAINTS.read_bytes():
        return ""
    shutil.rmtree(at, ignore_errors=True)
    pip = [str(at / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(at)], [*pip, "--constraint", str(CONSTRAINTS), *PACKAGES]):
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            lines = [line for line in (process.stderr or process.stdout).splitlines() if line.strip()]
            return f"it cannot be installed: {lines[-1] if lines else f'pip ended with {process.returncode}'}"
    shutil.copyfile(CONSTRAINTS, marker)
    return ""


def find(at: Path, program: str) -> str | None:
    """Return the path of a program: in the environment, else on the path; None if there is none."""
    return shutil.which(program, path=at / "bin") or shutil.which(program)
