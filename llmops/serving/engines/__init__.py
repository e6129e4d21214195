"""One file per engine: the programs that answer requests."""

import sys

from llmops.plugins.registry import Registry

ENGINES = Registry(sys.modules[__name__], "ENGINE", "llmops.engines")
