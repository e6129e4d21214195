"""Reads the files of other tools: one file for each format, with one object `FORMAT`."""

from llmops.plugins.registry import Registry

FORMATS = Registry(__name__, "FORMAT", "llmops.importers")
