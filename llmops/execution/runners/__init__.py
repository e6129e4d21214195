"""One file per runner: where steps run."""

import sys

from llmops.plugins.registry import Catalogue

RUNNERS = Catalogue(sys.modules[__name__], "RUNNER")
