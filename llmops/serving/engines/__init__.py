"""Lists the engines, the programs that answer requests: one file each."""

import sys

from llmops.plugins.registry import Registry

ENGINES = Registry(sys.modules[__name__], "ENGINE", "llmops.engines")
