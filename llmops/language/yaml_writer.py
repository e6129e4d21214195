"""Writes specs as YAML that people can read, and that `yaml_reader` reads back as the same values.

Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from llmops.language import yaml_reader

WIDTH = 110


class Line(dict[str, Any]):
    """A mapping to write on one line, if it fits."""


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow=flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Write several lines as a block, and quote a text that would be read as another value."""
    if "\n" in text and not any(line != line.rstrip() for line in text.split("\n")):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    plain = text and _is_read_back(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _is_read_back(text: str) -> bool:
    try:
        return [document.value for document in yaml_reader.load(f"- {text}\n".encode())] == [[text]]
    except yaml_reader.Unreadable:
        return False


def _line(dumper: yaml.SafeDumper, value: Line) -> yaml.MappingNode:
    fits = "\\n" not in (written := repr(value)) and len(written) <= WIDTH
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=fits)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Line, _line)


def documents(values: Iterable[Mapping[str, Any]], comment: str) -> str:
    """Write documents in their order, under a comment of one line."""
    written = yaml.dump_all(
        list(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=False
    )
    return f"# {comment}\n{written}"
