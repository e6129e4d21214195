"""Renders a comparison for `llmops compare -o NAME`: one file for each format."""

import sys

from llmops.plugins.registry import Registry

REPORTS = Registry(sys.modules[__name__], "render", "llmops.reports.compare")
