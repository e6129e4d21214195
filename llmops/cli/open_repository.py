"""Opens the repository around a folder.

Effects: reads git.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llmops.git import repository
from llmops.git.repository import Repository


def open_repository(arguments: argparse.Namespace) -> Repository:
    """Open the repository around the folder of ``-C``."""
    return repository.discover(Path(arguments.folder))
