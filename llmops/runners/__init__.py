"""Lists the runners, where steps run: one file each."""

import sys

from llmops.plugins.registry import Registry

RUNNERS = Registry(sys.modules[__name__], "RUNNER", "llmops.runners")
