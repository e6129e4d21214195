"""One file per training task: the formats it takes, its rules, and the trainer it builds."""

import sys

from llmops.plugins.registry import Catalogue

TASKS = Catalogue(sys.modules[__name__], "TASK")
