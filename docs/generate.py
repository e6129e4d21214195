"""code -> docs/reference: the pages that are read off the kinds, the command line and the exit codes.

And `docs/performance.md`, from the figures that `make bench` left in `docs/performance.json`.

    python docs/generate.py            write them
    python docs/generate.py --check    say which are stale; exit 1 when one is

Effects: reads the example specs, writes docs/reference, prints.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from msgspec import Struct

from benchmarks import page as performance
from benchmarks import results
from docs import tables
from llmops import cli, registry
from llmops.domain import problems
from llmops.domain.problems import Exit, LlmopsError
from llmops.domain.resources import Scope
from llmops.language.json_schema import Metadata
from llmops.plugins.fields import FieldMeta
from llmops.plugins.kind import Kind
from llmops.specs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
EXAMPLES = (ROOT / "llmops" / "kinds", ROOT / "demo" / "system" / "specs", ROOT / "demo" / "system")
"""Where the example of a kind is looked for, in this order."""
NOTE = "<!-- Written by docs/generate.py from the code; edit that. -->\n"
WIDTH = 100


def pages() -> dict[Path, str]:
    """Give every generated page by its path."""
    texts = {"kinds.md": kinds_page(), "cli.md": cli_page(), "exit-codes.md": exits_page()}
    figures = results.decode((Path(__file__).parent / "performance.json").read_bytes())
    return {PAGES / name: NOTE + text for name, text in texts.items()} | {
        PAGES.parent / "performance.md": performance.page(figures)
    }


def stale() -> list[str]:
    """Name the pages that do not say what the code says."""
    found = {path: path.read_text() if path.exists() else "" for path in pages()}
    return [str(path.relative_to(ROOT)) for path, text in pages().items() if found[path] != text]


# Kinds.


KINDS_INTRO = """
# Kinds

A spec is a YAML document: `apiVersion: llmops/v1alpha1`, `kind`, `metadata` and `spec`. This page lists what each kind
takes. `llmops schema KIND` prints the same as JSON Schema, and `llmops schema --write` puts all of them where editors
find them.

- **Default**: what a field is when it is left out. A field of a part (`lora.r`) counts only when that part is given.
- **Decides**: *digest*: what is made, and so what is served; *revision*: what is served, not what is made; *nothing*:
  how it is done, judged or shown. A change of what decides nothing makes, evaluates and releases nothing again.
- A field that names a resource or a file decides by what is in it, not by its name. Where a field names something
  outside git, or a file that a step reads (`task`, `revision`, `uri`), what it is pinned at or what the file holds is
  in the digest, whatever is said of the name.
"""


def kinds_page() -> str:
    """Write a section for every kind, for the metadata they share, for the settings and for the engines."""
    kinds = [registry.PLUGINS.kinds[name] for name in sorted(registry.PLUGINS.kinds)]
    names = ["Metadata", *(kind.name for kind in kinds), "Settings", "Engines"]
    contents = "\n" + " · ".join(f"[{name}](#{name.lower()})" for name in names) + "\n"
    nothing = FieldMeta(scope=Scope.NONE)
    metadata = ["## Metadata", summary(Metadata), tables.of(Metadata, nothing)]
    settings = [
        "## Settings",
        f"{summary(Settings)} They stand in `llmops.yaml` at its root, and are in no digest.",
        example("Settings"),
        tables.of(Settings, nothing),
    ]
    sections = [metadata, *map(kind_section, kinds), settings, *engine_sections()]
    return KINDS_INTRO + contents + "".join("\n" + "\n\n".join(section) + "\n" for section in sections)


def kind_section(kind: Kind[Any]) -> list[str]:
    """Write what one kind is, an example, and its fields."""
    return [
        f"## {kind.name}",
        summary(kind.body),
        made(kind),
        example(kind.name),
        tables.of(kind.body, FieldMeta()),
    ]


def summary(body: type[Struct]) -> str:
    """Give the first paragraph of what a type says of itself."""
    return " ".join((inspect.getdoc(body) or "").partition("\n\n")[0].split())


def made(kind: Kind[Any]) -> str:
    """Say how resources of a kind come to be."""
    step = kind.step
    if kind.step_of:
        folder, field = kind.step_of
        return f"Prepared by the step of its `{field}` ({folder}), then released: what runs is made what the spec says."
    if step is None:
        return "There is nothing to make: the spec is the thing."
    trials = f" and each of its `{step.trials}`" if step.trials else ""
    parts = f", each of its `{step.parts}`{trials} on its own" if step.parts else ""
    extra = f" It needs the extra `{step.extra}`." if step.extra else ""
    live = " Then it is released: what runs is made what the spec says." if kind.live else ""
    return f"Made by the step `{step.name}` (version {step.version}){parts}.{extra}{live}"


def example(kind: str) -> str:
    """Quote an example of a kind: the longest of the first folder that has one. Raises LookupError if none has."""
    for folder in EXAMPLES:
        texts = [text for path in sorted(folder.glob("*.yaml")) for text in documents(path.read_text())]
        if found := [text for text in texts if re.search(rf"^kind: {kind}$", text, flags=re.MULTILINE)]:
            return f"```yaml\n{max(found, key=len)}\n```"
    raise LookupError(f"no example of {kind}: put one beside it: llmops/kinds/{kind}.example.yaml.")


def documents(text: str) -> list[str]:
    """Split a file of specs into its documents, without the comments in front of each."""
    return [one[one.find("apiVersion:") :].strip() for one in re.split(r"^---\n", text, flags=re.MULTILINE)]


def engine_sections() -> Iterator[list[str]]:
    """Write what each engine takes as its `config`."""
    yield ["## Engines", "What `engine.type` of a Deployment may be, and what `engine.config` takes then."]
    for name, engine in sorted(registry.PLUGINS.choices["engines"].items()):
        chosen = ", ".join(f"`{what}` is `{how}`" for what, how in sorted(engine.decides.items()))
        decides = f" Choosing it decides the digest of what is prepared: {chosen}." if chosen else ""
        versions = f"Checked against version {', '.join(engine.versions)}." if engine.versions else ""
        about = f"{summary(type(engine))} {versions}{decides}"
        yield [f"### {name}", about, tables.of(engine.config, FieldMeta(scope=Scope.LIVE))]


# The command line.

CLI_INTRO = """
# Command line

What `llmops --help` and `llmops COMMAND --help` print. The options of the first list may stand before or behind the
command. Exit codes are explained [on their own page](exit-codes.md).
"""


def cli_page() -> str:
    """Write the help of every command."""
    helps = {"llmops": help_of()} | {f"llmops {name}": help_of(name) for name in commands()}
    return CLI_INTRO + "".join(f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in helps.items())


def commands() -> list[str]:
    """Name the commands."""
    return sorted(path.stem for path in Path(cli.commands.__path__[0]).glob("[a-z]*.py"))


def help_of(*command: str) -> str:
    """Give what a command prints when it is asked for help."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": str(WIDTH)}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        cli.build_parser(command or commands()).parse_args([*command, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


# Exit codes.

EXITS_INTRO = """
# Exit codes

What the exit code of a command says. Scripts and CI jobs may rely on them.
"""
ERRORS_INTRO = """
An error is named for what to do next; its message says what, where and why.
"""


def exits_page() -> str:
    """Write the exit codes, and the errors that end with one."""
    codes = [f"| {int(one)} | {one.name} | {tables.cell(one.says)} |" for one in Exit]
    errors = [
        f"| {one.__name__} | {int(one.exit)} | {tables.cell(summary_of(one))} |"
        for one in error_classes(vars(problems))
    ]
    first = "\n".join(["| Code | Name | Says |", "|---|---|---|", *codes])
    second = "\n".join(["| Error | Code | What to do |", "|---|---|---|", *errors])
    return f"{EXITS_INTRO}\n{first}\n{ERRORS_INTRO}\n{second}\n"


def error_classes(members: Mapping[str, object]) -> list[type[LlmopsError]]:
    """Give the errors that a command can end with, in the order of the module."""
    found = [one for one in members.values() if isinstance(one, type) and issubclass(one, LlmopsError)]
    return [one for one in found if one is not LlmopsError]


def summary_of(error: type[LlmopsError]) -> str:
    """Give the first line of what an error says of itself."""
    return (error.__doc__ or "").partition("\n")[0]


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="only name the pages that are stale; exit 1 when one is")
    if parser.parse_args(arguments).check:
        found = stale()
        for name in found:
            print(f"{name} is stale. Run: make docs", file=sys.stderr)
        return 1 if found else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
