"""Lists the controllers: one file per live kind, named as the file of the kind."""

import sys

from llmops.plugins.registry import Registry

CONTROLLERS = Registry(sys.modules[__name__], "CONTROLLER", "llmops.controllers", in_capitals=True)
