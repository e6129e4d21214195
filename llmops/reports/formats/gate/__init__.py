"""Renders what a gate decided for `llmops gate -o NAME`: one file for each form."""

import sys

from llmops.plugins.registry import Catalogue

REPORTS = Catalogue(sys.modules[__name__], "REPORT")
