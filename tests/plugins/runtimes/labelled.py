"""labelled: a runtime for tests with an option: processes of this machine whose folder has a label.

Effects: those of the local runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from llmops.plugins.fields import Body, about
from llmops.serving.runtimes.local import LocalReplicas


class Config(Body, frozen=True, kw_only=True):
    """What is chosen."""

    label: Annotated[str, about("The name of the folder.", pattern="^[a-z]+$")]


class Labelled:
    """Local processes, elsewhere."""

    config = Config

    def open(self, config: Config, folder: Path, open_store: Callable[[], Any]) -> LocalReplicas:
        return LocalReplicas(folder / config.label, open_store)


RUNTIME = Labelled()
