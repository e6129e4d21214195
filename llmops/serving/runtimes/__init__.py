"""One file per runtime: where replicas of engines run."""

import sys

from llmops.plugins.registry import Registry

RUNTIMES = Registry(sys.modules[__name__], "RUNTIME", "llmops.runtimes")
