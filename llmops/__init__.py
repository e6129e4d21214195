"""Manages large language models through git: the tree of a commit declares what is trained, evaluated and served.

`reconcile` is the whole flow on one page. A commit goes through the folders in this order:

    git, language   files of a commit, and what users write in them
    specs, kinds    files -> specs -> graph of digested resources -> changes
    index           a cache of the graph and of the outcomes
    planning        changes, ledger -> plan
    execution       orders of the plan -> outcomes; `steps` do the work
    ledger, store   outcomes and their bytes, as git refs and files
    gates           evidence -> verdicts; `statistics` has the tests
    releases        plan -> traffic; `serving` answers requests
    reports, cli    text for people and machines

Each folder imports only folders below it (pyproject.toml has the layers). `domain` has the values that all of them use,
and `plugins` what the author of a kind, an engine, a runtime or a runner implements.

`open` is where Python programs begin: `llmops.open(".").plan()`. It is loaded when it is first used.

Pure.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops.domain.version import __version__

if TYPE_CHECKING:
    from llmops.api.environment import Environment, Table, open  # noqa: A004  read as llmops.open

__all__ = ["Environment", "Table", "__version__", "open"]


def __getattr__(name: str) -> Any:
    """Load the Python API when it is first used: commands start without it."""
    if name in __all__:
        return getattr(importlib.import_module("llmops.api.environment"), name)
    raise AttributeError(f"module llmops has no attribute {name}")
