"""Defines the training tasks: one file for each."""

from llmops.plugins.registry import Registry

TASKS = Registry(__name__, "TASK", "llmops.tasks")
