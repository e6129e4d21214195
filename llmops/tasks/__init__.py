"""Defines the training tasks: one file for each."""

import sys

from llmops.plugins.registry import Registry

TASKS = Registry(sys.modules[__name__], "TASK", "llmops.tasks")
