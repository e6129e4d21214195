"""Runs steps, here or on a cluster: one file per runner."""

import sys

from llmops.plugins.registry import Registry

RUNNERS = Registry(sys.modules[__name__], "RUNNER", "llmops.runners")
