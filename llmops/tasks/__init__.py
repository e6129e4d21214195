"""Builds trainers, one file per training task: the formats that it takes, its rules, its trainer."""

import sys

from llmops.plugins.registry import Registry

TASKS = Registry(sys.modules[__name__], "TASK", "llmops.tasks")
