"""Parses the rows of dataset files: one parser for each file format."""

from collections.abc import Iterator

from llmops.plugins.parser import Parser
from llmops.plugins.registry import Registry

PARSERS = Registry(__name__, "PARSER", "llmops.parsers")


def find(name: str, dataset_format: str) -> Parser | None:
    """Find the parser of a file by its ending; None if no parser reads such files for this format of dataset."""
    return next((parser for parser in _parsers(dataset_format) if name.endswith(parser.suffixes)), None)


def suffixes(dataset_format: str) -> list[str]:
    """List the endings of files that a format of dataset is read from."""
    return sorted(suffix for parser in _parsers(dataset_format) for suffix in parser.suffixes)


def _parsers(dataset_format: str) -> Iterator[Parser]:
    parsers: Iterator[Parser] = map(PARSERS.__getitem__, PARSERS)
    return (parser for parser in parsers if not parser.formats or dataset_format in parser.formats)
