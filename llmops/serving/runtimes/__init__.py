"""Lists the runtimes, where replicas of engines run: one file each."""

import sys

from llmops.plugins.registry import Registry

RUNTIMES = Registry(sys.modules[__name__], "RUNTIME", "llmops.runtimes")
