"""Declares the kinds of resource, one file or folder each."""

from llmops.plugins.registry import Registry

KINDS = Registry(__name__, "KIND", "llmops.kinds", in_capitals=True)
