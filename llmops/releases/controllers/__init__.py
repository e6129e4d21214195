"""One file per live kind: its controller, under the name of the kind's file."""

import sys

from llmops.plugins.registry import Registry

CONTROLLERS = Registry(sys.modules[__name__], "CONTROLLER", "llmops.controllers", in_capitals=True)
