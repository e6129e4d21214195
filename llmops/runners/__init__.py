"""Lists the runners, where steps run: one file each."""

from llmops.plugins.registry import Registry

RUNNERS = Registry(__name__, "RUNNER", "llmops.runners")
