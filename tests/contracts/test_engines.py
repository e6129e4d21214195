"""What every engine promises: options with defaults, and a command that listens where it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmops.plugins.engine import Command, Engine, Interface, Replica
from llmops.serving.engines import ENGINES as OWN
from tests.plugins.engines import echo, elsewhere

ENGINES: dict[str, Any] = {**OWN, "echo": echo.ENGINE, "elsewhere": elsewhere.ENGINE}
LEAST = {"elsewhere": {"url": "https://models.example"}}
"""The fields of ``config`` that have no default."""
REPLICA = Replica(name="router-abc-0", model=Path("/models/abc/model"), host="127.0.0.1", port=4711)


@pytest.fixture(params=sorted(ENGINES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def interface(name: str) -> Interface:
    engine = ENGINES[name]
    config = msgspec.convert(LEAST.get(name, {}), engine.config)
    made = engine.endpoint(config) if engine.remote else engine.command(config, REPLICA)
    assert isinstance(made, Interface)
    return made


def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(LEAST.get(name, {}) | {"no_such_option": 1}, ENGINES[name].config)


def test_a_program_has_defaults_and_listens_where_it_is_told(name: str) -> None:
    command = interface(name)

    if isinstance(command, Command):
        assert name not in LEAST
        assert command.health.startswith("/")
        assert {"127.0.0.1", "4711"} <= set(re.split("[ =]", " ".join(command.argv)))


def test_its_interface_is_complete(name: str) -> None:
    found = interface(name)

    assert found.model
    assert found.reports
    assert {"model", "messages", "stream"} <= found.fields
    assert found.fixed <= found.fields


def test_a_program_names_its_versions_its_checkpoint_and_the_step_that_makes_it(name: str) -> None:
    engine: Engine = ENGINES[name]

    assert bool(engine.versions) != engine.remote
    assert bool(engine.decides.get("checkpoint")) != engine.remote
    assert (engine.prepare is None) == engine.remote


@pytest.mark.slow
def test_the_flags_of_transformers_serve_are_those_of_the_program() -> None:
    """Contract with the program itself: every flag that we pass is one that it knows."""
    import inspect

    from transformers.cli.serve import Serve

    found = ENGINES["transformers"].command(msgspec.convert({}, ENGINES["transformers"].config), REPLICA)
    ours = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in found.argv if word.startswith("--")}

    assert ours <= set(inspect.signature(Serve.__init__).parameters)
