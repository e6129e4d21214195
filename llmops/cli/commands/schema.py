"""schema: Print or write the JSON Schemas of the kinds.

Editors use them for completion and checks while you type: put
`# yaml-language-server: $schema=schemas/Training.json` at the top of a spec in specs/.

examples:
  llmops schema Training           print one
  llmops schema --write            write all into specs/schemas/

Effects: writes files when asked to, prints.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from llmops.cli import completers
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Misused, did_you_mean
from llmops.host import disk
from llmops.kinds import KINDS
from llmops.language import json_schema
from llmops.registry import PLUGINS
from llmops.specs import loading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_argument("kind", nargs="?", metavar="KIND", help="a kind, or Settings")
    completers.complete(kind, lambda **_: list(schemas()))  # argcomplete leaves out what does not begin so
    parser.add_argument(
        "--write", nargs="?", const="specs/schemas", metavar="DIR", help="write all (default: specs/schemas)"
    )


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    found = schemas()
    if arguments.write:
        folder = Path(arguments.folder) / arguments.write
        write(folder)
        terminal.say(f"Wrote {len(found)} schemas into {folder}.")
    elif arguments.kind is None:
        terminal.say("\n".join(found))
    elif arguments.kind in found:
        terminal.show(found[arguments.kind])
    else:
        raise Misused(f'no kind is called "{arguments.kind}". {did_you_mean(arguments.kind, found)}')
    return Exit.WELL


def schemas() -> dict[str, dict[str, object]]:
    """Give the schema of every kind, and of llmops.yaml."""
    kinds = {kind.name: json_schema.document(kind.name, kind.body, PLUGINS.choices) for kind in KINDS.values()}
    return kinds | {"Settings": loading.settings_schema(PLUGINS)}


def write(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in schemas().items():
        disk.write(folder / f"{name}.json", f"{json.dumps(found, indent=2)}\n".encode())
