"""Lists the kinds of resources: one file, or one folder, per kind."""

import sys

from llmops.plugins.registry import Registry

KINDS = Registry(sys.modules[__name__], "KIND", "llmops.kinds", in_capitals=True)
