"""Declares the kinds of resource, one file or folder each."""

import sys

from llmops.plugins.registry import Registry

KINDS = Registry(sys.modules[__name__], "KIND", "llmops.kinds", in_capitals=True)
