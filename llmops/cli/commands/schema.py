"""schema: Print or write the JSON Schemas of the kinds.

Editors use them to complete and check specs while you type: put
`# yaml-language-server: $schema=schemas/Training.json` at the top of a spec in specs/.

examples:
  llmops schema                    list the kinds
  llmops schema Training           print the schema of a kind
  llmops schema --write            write all schemas into specs/schemas/

Effects: writes files if asked to, prints.
"""

import argparse
import json
from pathlib import Path

from llmops.cli import completers
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Misused, did_you_mean
from llmops.host import disk
from llmops.kinds import KINDS
from llmops.language import json_schema
from llmops.registry import PLUGINS
from llmops.specs import settings_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "a kind, or Settings (default: list them)"
    completers.add(parser, lambda *_: schemas(), "kind", nargs="?", metavar="KIND", help=about)
    parser.add_argument(
        "--write", nargs="?", const="specs/schemas", metavar="DIR", help="write all (default: specs/schemas)"
    )


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    documents = schemas()
    if arguments.write:
        folder = arguments.folder / arguments.write
        write(folder)
        terminal.print(f"Wrote {len(documents)} schemas to {folder}.")
    elif arguments.kind is None:
        terminal.print("\n".join(documents))
    elif arguments.kind in documents:
        terminal.print_json(documents[arguments.kind])
    else:
        raise Misused(f'there is no kind "{arguments.kind}". {did_you_mean(arguments.kind, documents)}'.rstrip())


def schemas() -> dict[str, dict[str, object]]:
    kinds = {kind.name: json_schema.document(kind.name, kind.body, PLUGINS.choices) for kind in KINDS.values()}
    return kinds | {"Settings": settings_file.schema(PLUGINS)}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in schemas().items():
        disk.write(folder / f"{name}.json", f"{json.dumps(document, indent=2)}\n".encode())
