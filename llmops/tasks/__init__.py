"""Training tasks, one file each: the formats that a task takes, its rules, and the trainer that it builds."""

import sys

from llmops.plugins.registry import Registry

TASKS = Registry(sys.modules[__name__], "TASK", "llmops.tasks")
