"""Lists the controllers: one file per live kind, named as the file of the kind.

Effects: imports plug-ins by name.
"""

from typing import Any

from llmops.domain.problems import Broken
from llmops.plugins.registry import Registry


class Controllers(Registry):
    def __getitem__(self, name: str) -> Any:
        """Import the controller of a live kind. Raises `Broken` if it has none."""
        try:
            return super().__getitem__(name)
        except KeyError:
            raise Broken(
                f"the live kind {name} has no controller. Its distribution has to announce one as {name} in the "
                "entry points llmops.controllers; `llmops doctor` lists what is announced."
            ) from None


CONTROLLERS = Controllers(__name__, "CONTROLLER", "llmops.controllers", in_capitals=True)
