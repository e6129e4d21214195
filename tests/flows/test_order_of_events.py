"""Runs that come late, twice, out of order, or from a clone that is behind: the newest commit wins, once.

The three perturbations of Sieve (https://www.usenix.org/conference/osdi22/presentation/sun): a stale view of the world,
events that are skipped, and events that come again or in another order.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from llmops import reconcile
from llmops.domain.problems import Exit, Retry
from llmops.domain.records import EnvironmentState, Initiator
from llmops.ledger import leases, ledger
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from tests.conftest import SOAK, Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

ORDERS = list(itertools.product(range(3), repeat=3)) if SOAK else [(0, 1, 2), (2, 1, 0), (1, 2, 1), (0, 2, 2)]
"""Which commits' runs come, one after the other."""


def dish(text: str) -> dict[str, str]:
    return {"specs/soup.yaml": spec("Dish", "soup", f"text: {text}")}


def shared(tmp_path: Path) -> str:
    """Settings of clones on different machines: one store, and a work folder in each."""
    body = f"{{store: {{url: 'file://{tmp_path}/store'}}}}"
    return f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {body}\n"


@pytest.fixture
def history(repo: Repo, llmops: Shell, tmp_path: Path) -> list[str]:
    """Three commits, the last of which is pushed."""
    repo.commit({"llmops.yaml": shared(tmp_path)})
    assert llmops("init") == Exit.WELL
    made = [repo.commit(dish(text)) for text in ("leek", "onion", "tomato")]
    repo.git("push", "--quiet")
    return made


def machine(shell: Shell, folder: Path, commit: str = "main", options: tuple[str, ...] = ()) -> Shell:
    """Another clone, as a job of continuous integration has it, at a commit."""
    made = Shell(shell.repo.clone(folder, *options), shell.capsys)
    made.repo.git("checkout", "--quiet", commit)
    return made


def state(repo: Repo) -> EnvironmentState:
    ledger.fetch(repo.ledger())
    found = ledger.state(repo.ledger())
    assert found is not None
    return found


def cooked(counter: Path) -> int:
    return counter.read_text().count("begin Dish/soup")


@pytest.mark.parametrize("order", ORDERS)
def test_runs_of_three_commits_in_any_order_end_at_the_newest_that_came(
    order: tuple[int, ...], history: list[str], llmops: Shell, plugins: Path, tmp_path: Path
) -> None:
    newest = -1
    for number, commit in enumerate(order):
        job = machine(llmops, tmp_path / f"job{number}", history[commit])
        is_owed = commit not in order[:number]  # what was made stays made, and then there is nothing to refuse
        assert job("apply") == (Exit.STALE if commit < newest and is_owed else Exit.WELL), job.err
        newest = max(newest, commit)

        assert state(llmops.repo).commit == history[newest]
    came = [commit for number, commit in enumerate(order) if commit >= max(order[: number + 1])]
    assert cooked(plugins) == len(set(came)), "something was done twice, or was not refused"
    llmops.is_clean()


def test_an_older_commit_says_what_is_newer_and_how_to_go_back(
    history: list[str], llmops: Shell, tmp_path: Path
) -> None:
    old = machine(llmops, tmp_path / "old", history[0])
    assert llmops("apply") == Exit.WELL

    assert old("apply") == Exit.STALE

    assert f"commit {history[0][:12]} is older than {history[2][:12]}, whose apply to local has begun" in old.err
    assert "git revert" in old.err
    assert old("apply", "--allow-older") == Exit.WELL
    assert state(llmops.repo).commit == history[0]
    assert llmops("apply") == Exit.WELL, "the newest commit is newer than the one that was gone back to"


def test_an_older_commit_that_has_nothing_to_do_is_well_and_leaves_the_newer_one_applied(
    history: list[str], llmops: Shell, tmp_path: Path
) -> None:
    newer = llmops.repo.commit({"README.md": "In no digest.\n"})
    llmops.repo.git("push", "--quiet")
    late = machine(llmops, tmp_path / "late", history[2])
    assert llmops("apply") == Exit.WELL
    before = state(llmops.repo)

    assert late("apply") == Exit.WELL, late.err
    assert "Nothing to do" in late.out
    assert state(llmops.repo) == before
    assert before.commit == newer


def test_a_run_that_failed_counts_as_begun(history: list[str], llmops: Shell, plugins: Path, tmp_path: Path) -> None:
    old = machine(llmops, tmp_path / "old", history[0])
    llmops.repo.commit(dish("burnt\nfails: error"))
    llmops.repo.git("push", "--quiet")
    assert llmops("apply") == Exit.FAULT

    assert old("apply") == Exit.STALE


@pytest.mark.parametrize("options", [(), ("--depth=1",), ("--filter=blob:none",)])
def test_a_clone_that_has_never_seen_the_newest_commit_is_refused_as_well(
    options: tuple[str, ...], history: list[str], llmops: Shell, tmp_path: Path
) -> None:
    llmops.repo.git("-C", str(llmops.repo.remote), "config", "uploadpack.allowFilter", "true")
    old = machine(llmops, tmp_path / "old", options=options)
    llmops.repo.commit(dish("pea"))
    llmops.repo.git("push", "--quiet")
    assert llmops("apply") == Exit.WELL

    assert old("apply") == Exit.STALE
    assert "git pull" in old.err


def test_a_commit_that_nobody_has_any_more_stops_nobody(history: list[str], llmops: Shell, tmp_path: Path) -> None:
    """The branch was rewritten, and what was applied is gone with it."""
    laptop = machine(llmops, tmp_path / "laptop")
    laptop.repo.commit(dish("squash"))
    assert laptop("apply") == Exit.WELL

    shutil.rmtree(laptop.repo.folder)

    assert llmops("apply") == Exit.WELL
    assert state(llmops.repo).commit == history[2]


def test_commits_in_between_may_be_skipped(history: list[str], llmops: Shell, plugins: Path, tmp_path: Path) -> None:
    assert machine(llmops, tmp_path / "first", history[0])("apply") == Exit.WELL
    assert llmops("apply") == Exit.WELL

    assert cooked(plugins) == 2
    llmops.is_clean()


def planned(shell: Shell) -> Proposal:
    workspace = shell.repo.workspace(shell.repo.desire().settings)
    ledger.fetch(workspace.ledger)
    return proposals.propose(workspace, shell.repo.desire())


def apply(shell: Shell, made: Proposal) -> reconcile.ApplyResult:
    initiator = Initiator(actor="me", run="", commit=made.plan.commit, purpose="apply")
    return reconcile.apply(shell.repo.workspace(made.desired.settings), made, initiator, lambda event: None)


def clear_up(shell: Shell) -> None:
    """Take the lease and give it back, as `gc` does."""
    where = shell.repo.ledger()
    leases.give_back(where, leases.take(where, "gc"))


def test_what_another_run_did_after_the_plan_was_made_is_not_done_again(
    history: list[str], llmops: Shell, plugins: Path, tmp_path: Path
) -> None:
    """The same push came twice: both runs have planned before either of them took the lease."""
    late = machine(llmops, tmp_path / "late")
    made = planned(late)
    clear_up(llmops)  # so that the two plans do not have the same name
    assert llmops("apply") == Exit.WELL

    with pytest.raises(Retry, match="the pending actions have changed"):
        apply(late, made)

    assert cooked(plugins) == 1
    assert late("apply") == Exit.WELL
    assert state(llmops.repo).lease is None
    llmops.is_clean()


def test_a_plan_of_an_older_commit_is_not_carried_out_after_a_newer_one(
    history: list[str], llmops: Shell, plugins: Path, tmp_path: Path
) -> None:
    late = machine(llmops, tmp_path / "late", history[1])
    made = planned(late)
    assert llmops("apply") == Exit.WELL

    with pytest.raises(Retry, match="is older than"):
        apply(late, made)
    assert cooked(plugins) == 1


def test_a_run_that_was_overtaken_by_one_that_changed_nothing_of_it_goes_on(
    history: list[str], llmops: Shell, plugins: Path
) -> None:
    made = planned(llmops)
    clear_up(llmops)

    assert apply(llmops, made).is_well
    assert cooked(plugins) == 1
