"""What the tests of a forge share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.forge import stand_in
from tests.forge.npm import description, emulator, npm
from tests.forge.stand_in import GitHub

__all__ = ["description", "emulator", "npm"]


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A stand-in for GitHub."""
    with stand_in.listening() as found:
        yield found
