"""Harm to the ledger: what fsck finds, and what every command refuses."""

from __future__ import annotations

import os
import time

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.git import refs
from llmops.ledger import ledger
from tests.conftest import Shell
from tests.maintenance import fsck, outcome

pytestmark = pytest.mark.usefixtures("plugins")


def rewrite(shell: Shell, ref: str, files: dict[str, bytes], *, over: bool = True) -> None:
    """Write a ref of the ledger past llmops."""
    at = shell.repo.ledger().at
    tip = refs.tip(at, ref)
    new = refs.write(at, files, "by hand", [tip], over=tip if over else "")
    assert refs.publish(at, ref, tip, new)


@pytest.mark.parametrize("what", ["^{tree}", ":{shard}"])
def test_a_ledger_of_which_git_lost_something_is_a_fault_with_a_remedy(kitchen: Shell, what: str) -> None:
    shard = kitchen.repo.git("ls-tree", "--name-only", "refs/llmops/results").split()[0]
    lost = kitchen.repo.git("rev-parse", f"refs/llmops/results{what.format(tree='{tree}', shard=shard)}")
    for index in (kitchen.repo.folder / ".git" / "llmops").glob("index-*"):
        index.unlink()
    (kitchen.repo.folder / ".git" / "objects" / lost[:2] / lost[2:]).unlink()

    assert kitchen("plan", "--offline") == Exit.FAULT
    assert "is missing from this repository, or damaged. Run `git fsck`." in kitchen.err


def test_a_ledger_that_a_newer_llmops_wrote_is_refused_by_every_command(kitchen: Shell) -> None:
    flour = outcome(kitchen, Key("Dish", "flour"))
    rewrite(kitchen, "refs/llmops/results", {ledger.path_of(flour.unit): ledger.encode(replace(flour, format=99))})
    for command in ("plan", "apply", "status", "gc"):
        assert kitchen(command) == Exit.NO, command
        assert "written by a newer llmops. Upgrade: pip install --upgrade git-llmops" in kitchen.err
    ledger.transact(kitchen.repo.ledger(), lambda state: replace(state, format=99), "from the future")
    for command in ("plan", "apply", "status", "gc", "unlock"):
        assert kitchen(command) == Exit.NO, command
        assert "newer llmops" in kitchen.err
    assert kitchen("fsck") == Exit.NO
    assert "newer llmops" in kitchen.out


def test_a_lock_that_a_killed_git_left_is_found_and_removed(kitchen: Shell) -> None:
    lock = kitchen.repo.folder / ".git/refs/llmops/results.lock"
    lock.touch()
    assert kitchen("fsck") == Exit.WELL, "a git may be at work"
    os.utime(lock, (time.time() - 7200, time.time() - 7200))

    assert kitchen("fsck") == Exit.NO
    assert str(lock) in kitchen.out
    assert kitchen("fsck", "--repair") == Exit.WELL
    assert not lock.exists()


def test_an_outcome_in_the_wrong_place_is_found(kitchen: Shell) -> None:
    flour = outcome(kitchen, Key("Dish", "flour"))
    rewrite(kitchen, "refs/llmops/results", {f"00/{'0' * 62}.json": ledger.encode(flour)})

    assert kitchen("fsck") == Exit.NO
    assert "which belongs elsewhere" in kitchen.out


def test_an_outcome_that_cannot_be_read_is_found(kitchen: Shell) -> None:
    rewrite(kitchen, "refs/llmops/results", {f"00/{'0' * 62}.json": b"{"})

    assert kitchen("fsck") == Exit.NO
    assert "the ledger has an invalid entry" in kitchen.out


def test_results_that_were_taken_away_are_found(kitchen: Shell) -> None:
    flour = outcome(kitchen, Key("Dish", "flour"))
    rewrite(kitchen, "refs/llmops/results", {ledger.path_of(flour.unit): ledger.encode(flour)}, over=False)

    assert kitchen("fsck") == Exit.NO
    assert "(2 in all)" in kitchen.out


def test_what_is_not_of_llmops_is_found_in_the_history_too(kitchen: Shell) -> None:
    tip = ledger.tips(kitchen.repo.ledger())[0]
    rewrite(kitchen, "refs/llmops/results", {"README": b"hello", "zz/x.json": b"{}"})
    at = kitchen.repo.ledger().at
    odd = refs.tip(at, "refs/llmops/results")
    good = kitchen.repo.git("commit-tree", "-p", odd, "-m", "back", f"{tip}^{{tree}}")
    assert refs.publish(at, "refs/llmops/results", odd, good)

    found = [one["what"] for one in fsck(kitchen)["findings"]]

    assert any("README was not written by llmops" in one for one in found)
    assert any("zz was not written by llmops" in one for one in found)


@pytest.mark.parametrize("fences", [[0], [5, 3, 6]])
def test_a_fence_that_fell_is_found(kitchen: Shell, fences: list[int]) -> None:
    where = kitchen.repo.ledger()
    for fence in fences:
        ledger.transact(where, lambda state, fence=fence: replace(state, fence=fence), "by hand")

    assert kitchen("fsck") == Exit.NO
    assert "the fence fell" in kitchen.out


def test_a_state_that_cannot_be_read_is_found(kitchen: Shell) -> None:
    rewrite(kitchen, "refs/llmops/releases/local", {"state.json": b"[]"}, over=False)

    assert kitchen("fsck") == Exit.NO
    assert "refs/llmops/releases/local" in kitchen.out
