"""Renders the result of a gate for `llmops gate -o NAME`: one file for each format."""

import sys

from llmops.plugins.registry import Registry

REPORTS = Registry(sys.modules[__name__], "render", "llmops.reports.gate")
