"""Renders a plan for `llmops plan -o NAME`: one file for each format."""

from llmops.plugins.registry import Registry

REPORTS = Registry(__name__, "render", "llmops.reports.plan")
