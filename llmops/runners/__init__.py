"""One file per runner: where steps run."""

import sys

from llmops.plugins.registry import Registry

RUNNERS = Registry(sys.modules[__name__], "RUNNER", "llmops.runners")
