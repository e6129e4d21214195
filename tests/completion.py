"""What a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def complete(folder: Path, line: str) -> list[str]:
    """Ask for completions as bash does (https://kislyuk.github.io/argcomplete)."""
    script = "import sys; from llmops.cli import main; sys.exit(main())"
    found = folder / "completions"
    environment = {
        **os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(found), "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=False, capture_output=True)
    return [word.strip() for word in found.read_text().split("\n") if word.strip()]
