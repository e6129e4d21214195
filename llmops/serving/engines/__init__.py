"""Lists the engines, the programs that answer requests: one file each."""

from llmops.plugins.registry import Registry

ENGINES = Registry(__name__, "ENGINE", "llmops.engines")
