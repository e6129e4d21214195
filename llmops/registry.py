"""The plug-ins there are: one file each in its folder, imported when it is asked for.

Effects: imports plug-ins.
"""

from __future__ import annotations

from llmops import kinds
from llmops.plugins.registry import Catalogue
from llmops.serving import engines, runtimes
from llmops.specs.parsing import Kinds, Plugins

KINDS: Kinds = Catalogue(kinds, "KIND")
ENGINES = Catalogue(engines, "ENGINE")
RUNTIMES = Catalogue(runtimes, "RUNTIME")
PLUGINS: Plugins = {"engines": ENGINES, "runtimes": RUNTIMES}
DECIDING = (kinds, engines, runtimes)
"""Packages whose code decides what a spec means."""
