"""Reads the files of other tools: one file for each format, with one object `FORMAT`."""

import sys

from llmops.plugins.registry import Registry

FORMATS = Registry(sys.modules[__name__], "FORMAT", "llmops.importers")
