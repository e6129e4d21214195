"""What every engine promises: options with defaults, and a command that listens where it is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from llmops.plugins.engine import Engine, Replica
from llmops.plugins.registry import Registry
from llmops.serving import engines
from tests.plugins.engines import echo

CATALOGUE = Registry(engines, "ENGINE")
ENGINES: dict[str, Engine] = {**{name: CATALOGUE[name] for name in CATALOGUE}, "echo": echo.ENGINE}
REPLICA = Replica(name="router-abc-0", model=Path("/models/abc/model"), host="127.0.0.1", port=4711)


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def test_every_option_has_a_default_and_unknown_ones_are_refused(engine: Engine) -> None:
    msgspec.convert({}, engine.config)

    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"no_such_option": 1}, engine.config)


def test_the_program_listens_where_it_is_told(engine: Engine) -> None:
    argv = " ".join(engine.command(msgspec.convert({}, engine.config), REPLICA).argv)

    assert "127.0.0.1" in argv
    assert "4711" in argv


def test_it_says_how_to_speak_to_it(engine: Engine) -> None:
    command = engine.command(msgspec.convert({}, engine.config), REPLICA)

    assert command.health.startswith("/")
    assert command.model
    assert {"model", "messages", "stream"} <= command.fields
    assert command.fixed <= command.fields


def test_it_says_which_versions_it_was_checked_against(engine: Engine) -> None:
    assert engine.versions


def test_it_says_which_checkpoint_it_serves(engine: Engine) -> None:
    assert engine.decides["checkpoint"] in ("merged", "adapter")


@pytest.mark.slow
def test_the_flags_of_transformers_serve_are_those_of_the_program() -> None:
    """Contract with the program itself: every flag that we pass is one that it knows."""
    import inspect

    from transformers.cli.serve import Serve

    found = ENGINES["transformers"].command(msgspec.convert({}, ENGINES["transformers"].config), REPLICA)
    ours = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in found.argv if word.startswith("--")}

    assert ours <= set(inspect.signature(Serve.__init__).parameters)
