"""Runs terraform on a built-in resource for every spec, with the state in a file.

Effects: writes files, runs terraform.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks import repositories
from benchmarks.peers import Peer
from benchmarks.rig import environment

RESOURCE = """resource "terraform_data" "{name}" {{
  input = {{
    description = "Number {number}."
    labels      = {{ team = "search", tier = "two" }}
    steps       = {steps}
    needs       = [{needs}]
  }}
}}
"""


def _prepare(folder: Path, amount: int, program: str) -> None:
    folder.mkdir()
    main = folder / "main.tf"
    main.write_text("".join(_resources(amount, steps=100)))
    for arguments in (("init",), ("apply", "-auto-approve")):
        subprocess.run([program, *arguments], cwd=folder, env=environment(), check=True, capture_output=True)
    main.write_text("".join(_resources(amount, steps=7)))


def _resources(amount: int, steps: int) -> Iterator[str]:
    """Write a resource for every spec; ``steps`` is that of the last training."""
    for number in range(amount):
        needs = ", ".join(f"terraform_data.{repositories.name_of(need)}.id" for need in repositories.needs_of(number))
        own = steps if number == repositories.changed(amount) else number
        yield RESOURCE.format(name=repositories.name_of(number), number=number, steps=own, needs=needs)


PEER = Peer(
    what="terraform plan",
    ours="llmops plan",
    slower=15,
    program="terraform",
    version=("version",),
    remedy="Install it from https://developer.hashicorp.com/terraform/install.",
    prepare=_prepare,
    arguments=lambda program: (program, "plan", "-input=false"),
)
