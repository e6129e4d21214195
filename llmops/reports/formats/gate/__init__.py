"""Renders the result of a gate for `llmops gate -o NAME`: one file for each format."""

from llmops.plugins.registry import Registry

REPORTS = Registry(__name__, "render", "llmops.reports.gate")
