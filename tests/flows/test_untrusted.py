"""What somebody computed who may not write here: it never reaches the shared ledger, the store or the remote."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from llmops import reconcile
from llmops.domain.digests import Digest
from llmops.domain.problems import Closed, Exit, Held
from llmops.domain.records import Initiator
from llmops.environments import isolation, workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildResult
from llmops.gates import pull_request
from llmops.host import file_locks
from llmops.ledger import ledger
from llmops.store import blobs
from tests.answers import GOOD, WORSE, answered
from tests.conftest import Shell
from tests.forge.jobs import EVENTS
from tests.repos import Copies, Repo

WHO = Initiator(actor="stranger", run="", commit="c", purpose="gate")


@pytest.fixture
def change(filled: Shell, copies: Copies) -> Repo:
    """A last commit, by another stranger, that adds a row to the data that a training learns from."""
    repo = filled.repo

    def make() -> None:
        rows = (repo.folder / "data/rows.jsonl").read_text()
        repo.commit({"data/rows.jsonl": rows + rows.replace("1+1", "0+2")}, "from elsewhere")
        answered(repo, "HEAD~1", {"acc": GOOD})
        repo.git("push", "--quiet", "origin", "HEAD~1:main")

    copies("stranger", repo, make)
    return repo


def shared(repo: Repo) -> object:
    """Return all that others can see: every ref here and at the remote, and every file of the store with its time."""
    files = [path for path in (repo.workspace().folder / "store").rglob("*") if path.is_file()]
    return (
        repo.git("for-each-ref"),
        repo.git("ls-remote", "origin"),
        {path: (path.stat().st_mtime_ns, path.stat().st_nlink, path.read_bytes()) for path in files},
    )


def left(repo: Repo) -> list[str]:
    return [path.name for path in repo.workspace().work.glob("untrusted-*")]


def make_data(repo: Repo, place: Workspace) -> BuildResult:
    """Make, in a process of its own, the dataset that the change edits."""
    comparison = pull_request.prepare(repo.workspace(), repo.desire("HEAD~1"), repo.desire("HEAD"))
    tasks = [task for task in comparison.tasks if str(task.action.key) == "Dataset/rows"]
    build_context = reconcile.build_context(place, lambda state: state)
    return executor.build(tasks, build_context, WHO, lambda _: None)


def kept_by(place: Workspace, unit: Digest) -> bool:
    outcome = ledger.outcome(place.ledger, unit)
    return outcome is not None and all(
        blobs.complete(workspaces.open_store(place), one) for one in outcome.outputs.values()
    )


def test_what_is_made_apart_can_be_read_there_and_reaches_nobody_else(change: Repo) -> None:
    before = shared(change)
    with isolation.isolated(change.workspace(), change.git("rev-parse", "HEAD")) as place:
        made = make_data(change, place).built
        assert len(made) == 1
        assert all(kept_by(place, unit) for unit in made)
        everything = ledger.units(change.ledger())
        assert everything < ledger.units(place.ledger)
        assert all(kept_by(place, unit) for unit in everything)
    assert shared(change) == before
    assert left(change) == []


def test_a_file_of_the_shared_store_is_copied_out_and_never_linked(change: Repo) -> None:
    (digest,) = {digest for one in ledger.outcomes(change.ledger()).values() for digest in one.outputs.values()}
    with isolation.isolated(change.workspace(), "a" * 40) as place:
        target = place.work / "out"
        blobs.materialise(workspaces.open_store(place), digest, target)
        for file in target.iterdir():
            file.chmod(0o644)
            file.write_text("changed by what was run")
        assert all(
            blobs.is_sound(kept, one)
            for kept in [workspaces.open_store(change.workspace())]
            for one in blobs.listing(kept)
        )


def test_what_a_broken_run_left_is_taken_up_with_what_others_made_meanwhile(change: Repo) -> None:
    commit = change.git("rev-parse", "HEAD")
    made: set[Digest] = set()

    def broken() -> None:
        with isolation.isolated(change.workspace(), commit) as place:
            made.update(make_data(change, place).built)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken()
    assert left(change) == [f"untrusted-{commit[:12]}"]
    answered(change, "HEAD", {"acc": GOOD})
    with isolation.isolated(change.workspace(), commit) as place:
        assert all(kept_by(place, unit) for unit in made)
        assert ledger.units(change.ledger()) <= ledger.units(place.ledger)
    assert left(change) == []


def test_what_a_broken_run_left_is_removed_by_gc_when_nobody_goes_on_with_it(change: Repo, llmops: Shell) -> None:
    commit = change.git("rev-parse", "HEAD")

    def broken() -> None:
        with isolation.isolated(change.workspace(), commit) as place:
            make_data(change, place)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken()

    assert llmops("gc", "--prune", "--grace", "1d") == Exit.WELL
    assert left(change) == [f"untrusted-{commit[:12]}"], "it is young: a run may continue it"
    held = file_locks.take(change.workspace().work / left(change)[0] / isolation.LOCK)
    assert held is not None
    with held:
        assert llmops("gc", "--prune", "--grace", "0s") == Exit.WELL
    assert left(change) == [f"untrusted-{commit[:12]}"], "a run continues it"

    assert llmops("gc", "--grace", "0s") == Exit.WELL
    assert f"untrusted-{commit[:12]}" in llmops.out
    assert llmops("gc", "--prune", "--grace", "0s") == Exit.WELL
    assert left(change) == []
    assert "refs/llmops/untrusted" not in change.git("for-each-ref")
    assert llmops("fsck") == Exit.WELL


def test_two_runs_do_not_share_what_one_of_them_removes(change: Repo) -> None:
    again = isolation.isolated(change.workspace(), "a" * 40)
    with isolation.isolated(change.workspace(), "a" * 40), pytest.raises(Held, match="another run"), again:
        pass


def test_an_untrusted_head_is_judged_like_any_other_and_leaves_nothing(
    change: Repo, llmops: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shared(change)
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # what is started ends at once
    assert llmops("gate", "--base", "HEAD~1", "--untrusted") == Exit.FAULT
    assert shared(change) == before
    answered(change, "HEAD", {"acc": WORSE})
    before = shared(change)
    assert llmops("gate", "--base", "HEAD~1", "--untrusted", "-o", "md") == Exit.NO
    assert "the suite's questions differ" in llmops.out
    assert "--untrusted`" in llmops.out
    assert shared(change) == before
    assert left(change) == []


# Of a fork, nothing is run at all


@pytest.fixture
def fork(
    change: Repo, llmops: Shell, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `llmops ci` as the job of a pull request from a fork."""
    base, head = change.git("rev-parse", "HEAD~1"), change.git("rev-parse", "HEAD")
    text = (EVENTS / "pull_request_of_a_fork.json").read_text().replace(f"{1:040}", base).replace(f"{2:040}", head)
    event = tmp_path_factory.mktemp("job") / "event.json"
    event.write_text(text)
    monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    return lambda *arguments: llmops("ci", *arguments)


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--budget", "2h"), ("--apply",)])
def test_a_fork_changes_no_ref_and_no_byte_of_the_store(
    change: Repo, fork: Callable[..., int], options: tuple[str, ...]
) -> None:
    before = shared(change)
    assert fork(*options) == Exit.WELL
    assert shared(change) == before


def test_nor_could_it_if_something_of_it_were_run(change: Repo) -> None:
    """The site of a fork's job is closed: it is no question of who remembers to ask."""
    workspace = workspaces.read_only(change.workspace())
    before = shared(change)
    (outcome, *_) = ledger.outcomes(workspace.ledger).values()
    writes: list[Callable[[], object]] = [
        lambda: make_data(change, workspace),
        lambda: ledger.record(workspace.ledger, [replace(outcome, unit="f" * 64)], "x"),
        lambda: ledger.transact(workspace.ledger, lambda state: replace(state, fence=9), "x"),
        lambda: blobs.add_bytes(workspaces.open_store(workspace), b"poison"),
        lambda: list(blobs.remove(workspaces.open_store(workspace), blobs.listing(workspaces.open_store(workspace)))),
    ]
    for write in writes:
        with pytest.raises(Closed, match="is closed to this run"):
            write()
    assert shared(change) == before
