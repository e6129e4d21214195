"""Holds the kinds, and the plug-ins that fields of specs choose from.

Effects: those of the registries.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import ValidationError

from llmops.domain.problems import Broken, did_you_mean
from llmops.plugins.kind import Kind, Step


class Plugins:
    """The kinds, and the plug-ins of each folder that a field of a spec may choose from (`about(plugin=…)`)."""

    def __init__(self, kinds: Mapping[str, Kind[Any]], choices: Mapping[str, Mapping[str, Any]]) -> None:
        self.kinds, self.choices = kinds, choices
        self._providers: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    def choice(self, folder: str, name: str) -> Any:
        """Find a plug-in by name. Raises `ValidationError` if there is none, or it cannot be loaded."""
        try:
            return self.choices[folder][name]
        except KeyError:
            hint = did_you_mean(name, self.choices[folder])
            raise ValidationError(f'no plug-in is called "{name}". {hint}'.rstrip()) from None
        except Broken as error:
            raise ValidationError(str(error)) from None

    def kinds_for(self, role: str) -> tuple[str, ...]:
        folders = getattr(self.kinds, "folders", ())
        if (role, folders) not in self._providers:
            names = tuple(name for name in self.kinds if role in self.kinds[name].provides)
            self._providers[role, folders] = names
        return self._providers[role, folders]

    def step(self, kind: str, body: Any) -> Step | None:
        """Find the step that builds a resource: that of its kind, or of the plug-in that its body chooses."""
        declared = self.kinds[kind]
        if not declared.step_of:
            return declared.step
        folder, field = declared.step_of
        plugin = self.choice(folder, getattr(body, field).type)
        prepare: Step | None = plugin.prepare
        return prepare
