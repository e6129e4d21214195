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
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as types

from benchmarks import page as performance
from benchmarks import results
from llmops import catalogues, cli, fields, problems
from llmops.fields import Mark, shape
from llmops.plugin import Kind
from llmops.problems import Exit, LlmopsError
from llmops.schema import Metadata
from llmops.settings import Settings
from llmops.values import Scope

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
EXAMPLES = (ROOT / "docs" / "examples", ROOT / "demo" / "system" / "specs", ROOT / "demo" / "system")
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


class Row(Struct, frozen=True):
    """One field, as its table shows it."""

    path: str
    type: str
    default: str
    decides: str
    about: str


DECIDES = {Scope.BUILD: "digest", Scope.LIVE: "revision", Scope.NONE: "nothing"}
NARROWEST = list(Scope)
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
    kinds = [catalogues.KINDS[name] for name in sorted(catalogues.KINDS)]
    names = ["Metadata", *(kind.name for kind in kinds), "Settings", "Engines"]
    contents = "\n" + " · ".join(f"[{name}](#{name.lower()})" for name in names) + "\n"
    nothing = Mark(scope=Scope.NONE)
    metadata = ["## Metadata", summary(Metadata), table(rows(Metadata, nothing))]
    settings = [
        "## Settings",
        f"{summary(Settings)} They stand in `llmops.yaml` at its root, and are in no digest.",
        example("Settings"),
        table(rows(Settings, nothing)),
    ]
    sections = [metadata, *map(kind_section, kinds), settings, *engine_sections()]
    return KINDS_INTRO + contents + "".join("\n" + "\n\n".join(section) + "\n" for section in sections)


def kind_section(kind: Kind[Any]) -> list[str]:
    """Write what one kind is, an example, and its fields."""
    return [f"## {kind.name}", summary(kind.body), made(kind), example(kind.name), table(rows(kind.body, Mark()))]


def summary(body: type[Struct]) -> str:
    """Give the first paragraph of what a type says of itself."""
    return " ".join((inspect.getdoc(body) or "").partition("\n\n")[0].split())


def made(kind: Kind[Any]) -> str:
    """Say how resources of a kind come to be."""
    step = kind.step
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
    raise LookupError(f"no example of {kind}: put one into docs/examples/{kind}.yaml.")


def documents(text: str) -> list[str]:
    """Split a file of specs into its documents, without the comments in front of each."""
    return [one[one.find("apiVersion:") :].strip() for one in re.split(r"^---\n", text, flags=re.MULTILINE)]


def engine_sections() -> Iterator[list[str]]:
    """Write what each engine takes as its `config`."""
    yield ["## Engines", "What `engine.type` of a Deployment may be, and what `engine.config` takes then."]
    for name, engine in sorted(catalogues.PLUGINS["engines"].items()):
        chosen = ", ".join(f"`{what}` is `{how}`" for what, how in sorted(engine.decides.items()))
        decides = f" Choosing it decides the digest of what is prepared: {chosen}." if chosen else ""
        versions = f"Checked against version {', '.join(engine.versions)}." if engine.versions else ""
        about = f"{summary(type(engine))} {versions}{decides}"
        yield [f"### {name}", about, table(rows(engine.config, Mark(scope=Scope.LIVE)))]


def table(found: Iterable[Row]) -> str:
    """Write rows as a Markdown table."""
    head = ["| Field | Type | Default | Decides | Meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(line(f"`{row.path}`", row.type, row.default, row.decides, row.about) for row in found)])


def line(*cells: str) -> str:
    """Write a row of a table."""
    return "|" + "|".join(f" {one} " if one else " " for one in cells) + "|"


def rows(body: type[Struct], mark: Mark) -> Iterator[Row]:
    """List the fields of a type, those of its parts after each."""
    yield from _rows(shape(body), "", mark)


def _rows(kind: Any, prefix: str, mark: Mark) -> Iterator[Row]:
    for field in kind.fields:
        path = f"{prefix}{field.encode_name}"
        plain = bare(field.type, mark)
        is_part = isinstance(plain.type, types.StructType)
        decides = "" if is_part else DECIDES[plain.mark.scope]
        yield Row(path, words(plain), default(field), decides, cell(plain.about))
        if is_part:
            yield from _rows(plain.type, f"{path}.", plain.mark)
        elif isinstance(plain.type, (types.VarTupleType, types.ListType)):
            item = bare(plain.type.item_type, plain.mark)
            if isinstance(item.type, types.StructType):
                yield from _rows(item.type, f"{path}[].", item.mark)


class Bare(Struct, frozen=True):
    """A field's type without annotations and without "or nothing"."""

    type: Any
    mark: Mark
    about: str = ""


def bare(kind: types.Type, around: Mark) -> Bare:
    """Take the annotations off a type; the narrowest scope of what is around it and its own wins."""
    mark, about = Mark(scope=around.scope), ""
    while True:
        if isinstance(kind, types.Metadata):
            own = (kind.extra or {}).get("mark", Mark(scope=mark.scope))
            scope = max(own.scope, mark.scope, key=NARROWEST.index)
            mark = msgspec.structs.replace(own, scope=scope)
            about = about or (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        elif isinstance(kind, types.UnionType) and len(some := _some(kind)) == 1:
            kind = some[0]
        else:
            return Bare(kind, mark, about)


def _some(kind: types.UnionType) -> list[types.Type]:
    return [one for one in kind.types if not isinstance(one, types.NoneType)]


PLAIN = {types.BoolType: "true or false", types.AnyType: "anything", types.StructType: "mapping"}
PATTERNS = {
    fields.NAME_PATTERN: "DNS label",
    fields.PATH_PATTERN: "path",
    fields.DURATION_PATTERN: "duration",
    fields.SHA256_PATTERN: "`sha256:` and 64 hexadecimal digits",
    fields.SECRET_PATTERN: "where a secret is",
    fields.ADDRESS_PATTERN: "address without a secret in it",
}


def words(plain: Bare) -> str:
    """Say in words what a field takes."""
    if plain.mark.refers_to:
        article = "an" if plain.mark.refers_to[0][0] in "AEIOU" else "a"
        return f"name of {article} {' or '.join(plain.mark.refers_to)}"
    if plain.mark.is_file:
        return "file of the repository"
    if isinstance(plain.type, (types.VarTupleType, types.ListType)):
        least = f", at least {plain.type.min_length}" if plain.type.min_length else ""
        return f"list ({words(bare(plain.type.item_type, plain.mark))}){least}"
    if isinstance(plain.type, types.DictType):
        value = words(bare(plain.type.value_type, plain.mark))
        return "mapping" if value == "anything" else f"mapping ({value})"
    return scalar(plain.type)


def scalar(kind: types.Type) -> str:
    """Say in words what a field takes that holds one value."""
    match kind:
        case types.StrType():
            return PATTERNS.get(kind.pattern or "", f"text like {code(kind.pattern)}" if kind.pattern else "text")
        case types.IntType() | types.FloatType():
            return ("whole number" if isinstance(kind, types.IntType) else "number") + limits(kind)
        case types.LiteralType():
            return ("one of " if len(kind.values) > 1 else "") + ", ".join(map(code, kind.values))
    return PLAIN[type(kind)]


def limits(kind: types.IntType | types.FloatType) -> str:
    """Say between which numbers a number lies."""
    low = f"at least {kind.ge}" if kind.ge is not None else f"more than {kind.gt}" if kind.gt is not None else ""
    high = f"at most {kind.le}" if kind.le is not None else f"less than {kind.lt}" if kind.lt is not None else ""
    return "".join(f", {one}" for one in (low, high) if one)


def default(field: types.Field) -> str:
    """Say what a field is when it is left out; a part is what the rows below it say."""
    if field.required:
        return "required"
    value = field.default_factory() if field.default is NODEFAULT else field.default
    if value is None:
        return "none"
    if isinstance(value, Struct):
        return "" if value == type(value)() else code(msgspec.json.encode(value).decode())
    return code(value if isinstance(value, str) and value else json.dumps(msgspec.to_builtins(value)))


def code(text: object) -> str:
    """Write something as code, in a cell of a table."""
    return f"`{cell(str(text))}`"


def cell(text: str) -> str:
    """Make a text safe for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


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
    codes = [f"| {int(one)} | {one.name} | {cell(one.says)} |" for one in Exit]
    errors = [
        f"| {one.__name__} | {int(one.exit)} | {cell(summary_of(one))} |" for one in error_classes(vars(problems))
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
