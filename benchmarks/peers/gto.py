"""GTO: a registered version, which is an annotated tag, for every spec.

Effects: runs git.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks import repositories
from benchmarks.peers import Peer

WHO = "bench <bench@localhost> 1700000000 +0000"


def _prepare(folder: Path, amount: int, program: str) -> None:  # noqa: ARG001  gto would take an hour
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    stream = [f"commit refs/heads/main\nmark :1\ncommitter {WHO}\ndata 3\nall\n"]
    stream += [
        f"tag {repositories.name_of(number)}@v1.0.0\nfrom :1\ntagger {WHO}\ndata 4\nmade\n" for number in range(amount)
    ]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input="".join(stream).encode(), check=True)


def _arguments(program: str) -> Sequence[str]:
    return (program, "show")


PEER = Peer(
    what="gto show",
    ours="llmops status",
    slower=10,
    program="gto",
    version=("--version",),
    remedy="Is the package index reachable?",
    prepare=_prepare,
    arguments=_arguments,
)
