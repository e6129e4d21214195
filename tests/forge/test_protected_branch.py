"""GitHub's own rules, at its emulator: what a protected branch takes."""

from __future__ import annotations

from typing import Any

from llmops.domain.problems import Exit
from tests.forge.jobs import KINDS, Change, Forge, every_kind, headlines, judge, merge, no_effect, worse


@every_kind
def test_a_protected_branch_takes_only_what_passed(forge: Forge, proposed: dict[str, Any], change: Change) -> None:
    code, _, headline = KINDS[change]
    change(forge.repo)
    assert not merge(forge)  # nothing was reported
    judge(forge, proposed)
    (said,) = headlines(forge)
    assert said.startswith(headline)
    assert merge(forge) == (code == Exit.WELL)


def test_a_change_that_was_refused_is_taken_once_it_is_mended(forge: Forge, proposed: dict[str, Any]) -> None:
    worse(forge.repo)
    judge(forge, proposed)
    assert not merge(forge)
    forge.repo.git("reset", "--quiet", "--hard", "main")
    no_effect(forge.repo)
    judge(forge, proposed)
    assert headlines(forge) == ["### ✅ Pass: no evaluation is affected"]
    assert merge(forge)
