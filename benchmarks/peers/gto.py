"""Runs GTO on a registered version, an annotated tag, for every spec.

Effects: runs git.
"""

import subprocess
from pathlib import Path

from benchmarks import repositories
from benchmarks.peers import Peer

AUTHOR = "bench <bench@localhost> 1700000000 +0000"


def _prepare(folder: Path, amount: int, program: str) -> None:  # noqa: ARG001  gto would take an hour
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    stream = [f"commit refs/heads/main\nmark :1\ncommitter {AUTHOR}\ndata 3\nall\n"]
    names = map(repositories.name_of, range(amount))
    stream += [f"tag {name}@v1.0.0\nfrom :1\ntagger {AUTHOR}\ndata 4\nmade\n" for name in names]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input="".join(stream).encode(), check=True)


PEER = Peer(
    what="gto show",
    ours="llmops status",
    slower=10,
    program="gto",
    prepare=_prepare,
    arguments=lambda program: (program, "show"),
)
