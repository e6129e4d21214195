"""Lists the controllers: one file per live kind, named as the file of the kind."""

from llmops.plugins.registry import Registry

CONTROLLERS = Registry(__name__, "CONTROLLER", "llmops.controllers", in_capitals=True)
