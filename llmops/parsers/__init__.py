"""Reads the rows of data files: one file per parser, chosen by the ending of a file's name."""

import sys

from llmops.plugins.parser import Parser
from llmops.plugins.registry import Registry

PARSERS = Registry(sys.modules[__name__], "PARSER", "llmops.parsers")


def find(name: str, dataset_format: str) -> Parser | None:
    """Find the parser of a file; None if there is none for its ending and this format of dataset."""
    parsers: list[Parser] = [PARSERS[one] for one in PARSERS]
    fitting = (one for one in parsers if dataset_format in (one.formats or (dataset_format,)))
    return next((one for one in fitting if name.endswith(one.suffixes)), None)


def suffixes(dataset_format: str) -> list[str]:
    """List the endings that a format of dataset is read from."""
    parsers: list[Parser] = [PARSERS[one] for one in PARSERS]
    fitting = (one for one in parsers if dataset_format in (one.formats or (dataset_format,)))
    return sorted(suffix for one in fitting for suffix in one.suffixes)
