"""Runs check-jsonschema on the same specs and our JSON Schemas, one process for each kind.

Effects: runs git.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks import repositories
from benchmarks.peers import Peer

SCHEMAS = Path(__file__).resolve().parent.parent.parent / "specs" / "schemas"


def _prepare(folder: Path, amount: int, program: str) -> None:  # noqa: ARG001  it has no state
    repositories.make(folder, amount)


def _arguments(program: str) -> Sequence[str]:
    calls = (
        f"{shlex.join([program, '--schemafile', str(SCHEMAS / f'{kind}.json')])} specs/*/{letter}*.yaml"
        for kind, letter, _ in repositories.KINDS
    )
    return ("sh", "-c", " && ".join(calls))


PEER = Peer(
    what="check-jsonschema",
    ours="llmops check",
    slower=50,
    program="check-jsonschema",
    prepare=_prepare,
    arguments=_arguments,
)
