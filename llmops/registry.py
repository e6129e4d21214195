"""Lists the kinds, and the plug-ins that specs and settings choose from.

Effects: imports plug-ins on their first use.
"""

from llmops import kinds, parsers, tasks
from llmops.kinds import KINDS
from llmops.plugins.registry import Plugins
from llmops.runners import RUNNERS
from llmops.serving import engines, runtimes
from llmops.serving.engines import ENGINES
from llmops.serving.gateway.middleware import MIDDLEWARE
from llmops.serving.runtimes import RUNTIMES
from llmops.tasks import TASKS

PLUGINS = Plugins(
    KINDS,
    {"engines": ENGINES, "runtimes": RUNTIMES, "runners": RUNNERS, "middleware": MIDDLEWARE, "tasks": TASKS},
)
DECIDING = (kinds, engines, runtimes, parsers, tasks)
"""Packages whose code decides what a spec means."""
