"""The plug-ins there are: one file each in its folder, imported when it is asked for.

Effects: imports plug-ins.
"""

from __future__ import annotations

from llmops import kinds, runners
from llmops.plugin import Catalogue
from llmops.reading import Kinds, Plugins
from llmops.serving import engines, runtimes

KINDS: Kinds = Catalogue(kinds, "KIND")
ENGINES = Catalogue(engines, "ENGINE")
RUNTIMES = Catalogue(runtimes, "RUNTIME")
RUNNERS = Catalogue(runners, "RUNNER")
PLUGINS: Plugins = {"engines": ENGINES, "runtimes": RUNTIMES}
DECIDING = (kinds, engines, runtimes)
"""Packages whose code decides what a spec means."""
