"""Lists the runtimes, where replicas of engines run: one file each."""

from llmops.plugins.registry import Registry

RUNTIMES = Registry(__name__, "RUNTIME", "llmops.runtimes")
