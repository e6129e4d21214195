"""When gc removes nothing."""

from __future__ import annotations

import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.maintenance import age, hold, stored
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")


def test_nothing_is_removed_while_another_run_holds_the_lease_of_any_environment(changed: Shell) -> None:
    changed("init", "-e", "production")
    there = stored(changed)
    hold(changed, "production")

    assert changed("gc", "--prune") == Exit.HELD

    assert "ci@runner:1 is applying" in changed.err
    assert stored(changed) == there
    state = changed.state()
    assert state.lease is None, "the lease of the first environment was not given back"
    assert changed("gc") == Exit.WELL


def test_nothing_is_removed_without_a_ledger(kitchen: Shell) -> None:
    there = stored(kitchen)
    kitchen.repo.git("remote", "remove", "origin")
    for ref in kitchen.repo.git("for-each-ref", "--format=%(refname)", "refs/llmops").split():
        kitchen.repo.git("update-ref", "-d", ref)

    assert kitchen("gc", "--prune", "--grace", "0s") == Exit.NO
    assert "cannot tell which results are used" in kitchen.err
    assert stored(kitchen) == there


def test_nothing_is_removed_when_the_results_are_missing(kitchen: Shell) -> None:
    there = stored(kitchen)
    kitchen.repo.git("remote", "remove", "origin")
    kitchen.repo.git("update-ref", "-d", "refs/llmops/results")

    assert kitchen("gc", "--prune", "--grace", "0s") == Exit.NO
    assert "is incomplete here" in kitchen.err
    assert stored(kitchen) == there


def test_nothing_is_removed_when_a_commit_that_counts_is_not_valid(kitchen: Shell) -> None:
    age(kitchen)
    there = stored(kitchen)
    kitchen.repo.commit({"specs/flour.yaml": spec("Dish", "flour", "txt: oops")})

    assert kitchen("gc", "--prune") == Exit.NO
    assert "(HEAD) are invalid" in kitchen.err
    assert '"text" is missing' in kitchen.err
    assert stored(kitchen) == there


@pytest.mark.parametrize("grace", ["", "5", "two weeks", "-1d", "1d5"])
def test_a_grace_period_that_is_no_time_is_wrong_usage(kitchen: Shell, grace: str) -> None:
    assert kitchen("gc", f"--grace={grace}") == Exit.USAGE
    assert "Use 14d" in kitchen.err
