"""The ledger on real repositories, with several writers."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from llmops.domain.digests import digest
from llmops.domain.problems import Broken, Exit, Held, Refused, Retry
from llmops.domain.records import EnvironmentState, Lease, Outcome
from llmops.git import refs
from llmops.ledger import leases, ledger
from llmops.ledger.leases import ApplyClaim
from llmops.ledger.ledger import Ledger
from llmops.specs.settings import LedgerSettings
from tests import answers
from tests.conftest import Shell
from tests.repos import Repo


def outcome(name: object, seconds: float = 1.0, *, made: str = "m", started: str = "t") -> Outcome:
    provenance = replace(answers.PROVENANCE, started=started, seconds=seconds)
    return answers.outcome(digest(name), outputs={"model": digest(made)}, metrics={"loss": 0.5}, provenance=provenance)


@pytest.fixture
def here(repo: Repo) -> Ledger:
    made = repo.ledger()
    ledger.start(made)
    return made


@pytest.fixture
def there(repo: Repo, here: Ledger, tmp_path: Path) -> Ledger:
    made = repo.clone(tmp_path / "other").ledger()
    ledger.fetch(made)
    return made


def test_a_missing_ledger_is_unknown_not_empty(repo: Repo) -> None:
    assert ledger.state(repo.ledger()) is None
    with pytest.raises(Refused, match="it is unknown what was built"):
        ledger.record(repo.ledger(), [outcome(1)], "m")


def test_what_was_recorded_is_read_again(here: Ledger) -> None:
    ledger.record(here, [outcome(1), outcome(2)], "two")

    assert ledger.units(here) == {digest(1), digest(2)}
    assert ledger.outcome(here, digest(1)) == outcome(1)
    assert ledger.outcome(here, digest(3)) is None


def test_another_clone_sees_it_after_a_fetch(here: Ledger, there: Ledger) -> None:
    ledger.record(here, [outcome(1)], "m")
    ledger.fetch(there)

    assert ledger.units(there) == {digest(1)}


def test_two_writers_merge_by_union(here: Ledger, there: Ledger) -> None:
    ledger.record(here, [outcome(1)], "m")
    ledger.record(there, [outcome(2)], "m")  # has not seen the other
    ledger.fetch(here)

    assert ledger.units(here) == ledger.units(there) == {digest(1), digest(2)}


def test_an_outcome_that_is_there_stays_as_it_is(here: Ledger, there: Ledger) -> None:
    ledger.record(here, [outcome(1, seconds=1.0)], "m")
    ledger.record(there, [outcome(1, seconds=2.0)], "m")
    ledger.record(here, [outcome(1, seconds=3.0)], "m")
    ledger.fetch(here)

    for one in (here, there):
        found = ledger.outcome(one, digest(1))
        assert found is not None
        assert found.provenance.seconds == 1.0


def test_what_was_made_again_later_with_other_bytes_takes_the_place_of_what_was_lost(
    here: Ledger, there: Ledger
) -> None:
    ledger.record(here, [outcome(1, made="lost", started="2026-01-01T00:00:00Z")], "m")
    ledger.record(there, [outcome(1, made="again", started="2026-01-02T00:00:00Z")], "m")  # has not seen the other
    ledger.fetch(here)

    for one in (here, there):
        found = ledger.outcome(one, digest(1))
        assert found is not None
        assert found.outputs == {"model": digest("again")}


def test_a_remote_that_comes_later_gets_the_whole_ledger(tmp_path: Path) -> None:
    repo = Repo(tmp_path, remote=False)
    repo.commit()
    ledger.start(repo.ledger())
    ledger.record(repo.ledger(), [outcome(1)], "m")
    repo.git("init", "--quiet", "--bare", str(repo.remote))
    repo.git("remote", "add", "origin", str(repo.remote))

    ledger.start(repo.ledger())
    repo.git("push", "--quiet", "origin", "main")
    other = repo.clone(tmp_path / "other").ledger()
    ledger.fetch(other)

    assert ledger.units(other) == {digest(1)}
    ledger.transact(repo.ledger(), lambda state: replace(state, fence=7), "m")
    ledger.fetch(other)
    assert ledger.state(other) == EnvironmentState(fence=7)


def test_refs_that_git_fetch_brought_do_not_stop_anyone(repo: Repo, here: Ledger, tmp_path: Path) -> None:
    """Users may fetch the refs by hand, or keep the ledger in branches."""
    other = repo.clone(tmp_path / "other")
    ledger.record(here, [outcome(1)], "m")
    other.git("fetch", "--quiet", "origin", "+refs/llmops/*:refs/llmops/*")
    where = other.ledger()
    ledger.fetch(where)

    ledger.record(where, [outcome(2)], "m")
    ledger.transact(where, lambda state: replace(state, fence=3), "m")

    ledger.fetch(here)
    assert ledger.units(here) == {digest(1), digest(2)}


def test_two_that_begin_the_ledger_at_once_share_it(repo: Repo, tmp_path: Path) -> None:
    repo.git("push", "--quiet", "origin", "main")
    ledgers = [repo.clone(tmp_path / str(number)).ledger() for number in range(3)]
    threads = [threading.Thread(target=ledger.start, args=(one,)) for one in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for one in ledgers:
        ledger.fetch(one)
    assert len({ledger.tips(one) for one in ledgers}) == 1


def test_a_remote_that_lost_the_ledger_is_not_taken_for_an_empty_one(repo: Repo, here: Ledger) -> None:
    repo.git("push", "--quiet", "--delete", "origin", here.releases)

    with pytest.raises(Broken, match="Restore its last known commit: git push origin") as caught:
        ledger.fetch(here)
    command = str(caught.value).rpartition("Restore its last known commit: git ")[2]
    repo.git(*command.split())

    ledger.fetch(here)
    assert ledger.state(here) == EnvironmentState()


def test_no_update_of_the_state_is_lost(here: Ledger, there: Ledger) -> None:
    def count(where: Ledger) -> None:
        for _ in range(10):
            ledger.transact(where, lambda state: replace(state, fence=state.fence + 1), "count")

    threads = [threading.Thread(target=count, args=(one,)) for one in (here, there)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.fetch(here)

    found = ledger.state(here)
    assert found is not None
    assert found.fence == 20


def test_a_change_that_changes_nothing_writes_nothing(here: Ledger) -> None:
    before = ledger.tips(here)

    ledger.transact(here, lambda state: state, "nothing")

    assert ledger.tips(here) == before


def test_results_that_could_not_be_published_are_kept_and_published_later(
    repo: Repo, here: Ledger, there: Ledger
) -> None:
    away = repo.remote.with_name("away.git")
    repo.remote.rename(away)
    with pytest.raises(Broken, match="Nothing is lost"):
        ledger.record(here, [outcome(1)], "m")
    away.rename(repo.remote)

    assert ledger.units(here) == {digest(1)}
    ledger.publish_results(here)
    ledger.fetch(there)
    assert ledger.units(there) == {digest(1)}


def test_without_a_remote_the_ledger_is_local(tmp_path: Path) -> None:
    repo = Repo(tmp_path, remote=False)
    repo.commit()
    where = repo.ledger()
    ledger.start(where)
    ledger.record(where, [outcome(1)], "m")

    assert where.at.remote == ""
    assert ledger.units(where) == {digest(1)}


def test_a_remote_that_is_not_there_is_named(repo: Repo) -> None:
    with pytest.raises(Refused, match='no git remote "upstream"'):
        ledger.locate(repo.open(), LedgerSettings(remote="upstream"), "local")


def test_branches_can_hold_the_ledger_where_other_refs_are_refused(repo: Repo) -> None:
    settings = LedgerSettings(results="refs/heads/llmops/results", releases="refs/heads/llmops/releases")
    where = ledger.locate(repo.open(), settings, "local")
    ledger.start(where)
    ledger.record(where, [outcome(1)], "m")

    assert "refs/heads/llmops/results" in repo.git("ls-remote", "origin")


def left_behind(lock: Path, age: float) -> Path:
    """Leave the lock of a killed git process."""
    lock.write_text("")
    os.utime(lock, (time.time() - age, time.time() - age))
    return lock


def test_a_lock_of_a_git_that_was_killed_is_named(repo: Repo, here: Ledger) -> None:
    lock = left_behind(repo.folder / ".git/refs/llmops/results.lock", 300)

    with pytest.raises(Broken, match=rf"{lock} has existed for 300 s: .* remove it \(rm {lock}\)"):
        ledger.record(here, [outcome(1)], "m")
    assert len(refs.left_over_locks(here.at, here.refs)) == 1
    lock.unlink()
    ledger.record(here, [outcome(1)], "m")
    assert ledger.units(here) == {digest(1)}
    assert refs.left_over_locks(here.at, here.refs) == ()


def test_so_is_one_of_the_releases(repo: Repo, here: Ledger) -> None:
    lock = left_behind(repo.folder / ".git/refs/llmops/releases/local.lock", 300)

    with pytest.raises(Broken, match=rf"{lock} has existed for"):
        leases.take(here, "me")


def test_so_is_one_at_the_remote(repo: Repo, here: Ledger) -> None:
    lock = left_behind(repo.remote / "refs/llmops/results.lock", 300)

    with pytest.raises(Broken, match=rf'{lock} at the remote "origin" has existed for'):
        ledger.record(here, [outcome(1)], "m")
    lock.unlink()
    ledger.publish_results(here)
    assert refs.tracked(here.at, here.results) == refs.tip(here.at, here.results)


def test_the_lock_of_a_live_writer_is_waited_for(repo: Repo, here: Ledger) -> None:
    locks = [repo.folder / ".git/refs/llmops/results.lock", repo.remote / "refs/llmops/results.lock"]
    for lock in locks:
        lock.write_text("")
    timers = [threading.Timer(seconds, lock.unlink) for seconds, lock in zip((0.5, 1.0), locks, strict=True)]
    for timer in timers:
        timer.start()

    ledger.record(here, [outcome(1)], "m")

    for timer in timers:
        timer.join()
    assert ledger.units(here) == {digest(1)}


# Leases


def test_a_lease_is_held_by_one(here: Ledger, there: Ledger) -> None:
    ledger.transact(here, lambda state: replace(state, lease=Lease(holder="x@elsewhere:1", fence=3, until=9e9)), "held")

    with pytest.raises(Held, match="x@elsewhere"):
        leases.take(there, "me", ApplyClaim(plan="plan"))


def test_a_lease_lapses(here: Ledger) -> None:
    old = Lease(holder="x@elsewhere:1", fence=3, until=1.0)
    ledger.transact(here, lambda state: replace(state, lease=old, fence=3), "held")

    assert leases.take(here, "me", ApplyClaim(plan="plan")) == 4


HOLDER = """
import sys, time
from pathlib import Path
from llmops.git import repository
from llmops.ledger import leases, ledger
from llmops.specs.settings import LedgerSettings
where = ledger.locate(repository.discover(Path(sys.argv[1])), LedgerSettings(), "local")
print(leases.take(where, "other"), flush=True)
time.sleep(60)
"""


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_over(repo: Repo, here: Ledger) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(repo.folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(Held):
            leases.take(here, "me", ApplyClaim(plan="plan"))
        other.kill()
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:  # not reaped yet
            time.sleep(0.01)

        assert leases.take(here, "me", ApplyClaim(plan="plan")) == 2


def test_a_lease_from_another_boot_or_machine_is_never_thought_gone(here: Ledger) -> None:
    far = Lease(holder="x@here:1", process="another-boot pid:[1] 999999:1", fence=1, until=9e9)
    ledger.transact(here, lambda state: replace(state, lease=far, fence=1), "held")

    with pytest.raises(Held):
        leases.take(here, "me", ApplyClaim(plan="plan"))


def test_who_lost_the_lease_cannot_write(here: Ledger) -> None:
    guard = leases.guard(leases.take(here, "me"))
    ledger.transact(here, guard, "fine")
    leases.take(here, "me")

    with pytest.raises(Retry, match="lost its lease"):
        ledger.transact(here, lambda state: guard(state), "late")


def test_a_lease_is_renewed_when_half_of_it_is_over(here: Ledger) -> None:
    import time

    fence = leases.take(here, "me")

    def age(state: EnvironmentState) -> EnvironmentState:
        assert state.lease is not None
        return replace(state, lease=replace(state.lease, until=time.time() + leases.SECONDS / 3))

    ledger.transact(here, age, "time passes")
    found = ledger.transact(here, leases.guard(fence), "renew")

    assert found.lease is not None
    assert found.lease.until > time.time() + leases.SECONDS / 2


def test_a_plan_is_applied_once(here: Ledger) -> None:
    fence = leases.take(here, "me", ApplyClaim(plan="plan"))
    leases.give_back(here, fence)

    with pytest.raises(Retry, match="applied before"):
        leases.take(here, "me", ApplyClaim(plan="plan"))


def test_giving_a_lease_back_notes_the_commit(here: Ledger) -> None:
    fence = leases.take(here, "me", ApplyClaim(plan="plan"))
    leases.give_back(here, fence, "c" * 40)

    found = ledger.state(here)
    assert found is not None
    assert (found.lease, found.commit) == (None, "c" * 40)


# On the disk


def test_what_is_recorded_is_on_the_disk_before_the_ref_moves(
    repo: Repo, here: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git counts its calls of fsync: https://git-scm.com/docs/api-trace2."""
    for change in (lambda: ledger.record(here, [outcome(1)], "m"), lambda: leases.take(here, "me")):
        trace = tmp_path / "trace"
        trace.unlink(missing_ok=True)
        with monkeypatch.context() as traced:
            traced.setenv("GIT_TRACE2_EVENT", str(trace))
            change()

        flushed = [(one["cmd"], one["value"]) for one in flushes(trace)]
        # A commit, its tree and what is in it; then the lock that becomes the ref; then the same for what is tracked.
        assert [cmd for cmd, _ in flushed[:3]] in (
            ["unpack-objects", "fast-import", "update-ref"],
            ["unpack-objects", "fast-import", "receive-pack"],
        )
        assert int(flushed[0][1]) >= 3


def flushes(trace: Path) -> list[dict[str, str]]:
    """Number of fsync calls of each git process, in order."""
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    names = {event["sid"]: event["name"] for event in events if event["event"] == "cmd_name"}
    return [event | {"cmd": names[event["sid"]]} for event in events if event.get("key") == "fsync/hardware-flush"]


def test_many_small_writes_are_packed_without_a_remote(tmp_path: Path, llmops: Shell) -> None:
    alone = Repo(tmp_path / "alone", remote=False)
    alone.commit({"llmops.yaml": "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"})
    alone.git("config", "gc.auto", "1")
    alone.git("config", "gc.autoDetach", "false")
    shell = Shell(alone, llmops.capsys)
    assert shell("init") == Exit.WELL
    alone.commit()
    for number in range(2):  # git looks whether there are many in one folder of 256
        crowd = next(text for text in map(str, itertools.count(1000 * number)) if blob_id(text).startswith("17"))
        alone.git("hash-object", "-w", "--stdin", stdin=crowd)
    assert "in-pack: 0" in alone.git("count-objects", "--verbose")

    assert shell("apply") == Exit.WELL

    assert "in-pack: 0" not in alone.git("count-objects", "--verbose")
    shell.is_clean()


def test_packing_that_takes_too_long_spoils_no_apply(repo: Repo, here: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("config", "gc.autoDetach", "false")
    repo.git("config", "gc.auto", "1")
    crowd = next(text for text in map(str, itertools.count()) if blob_id(text).startswith("17"))
    other = next(text for text in map(str, itertools.count(int(crowd) + 1)) if blob_id(text).startswith("17"))
    for text in (crowd, other):
        repo.git("hash-object", "-w", "--stdin", stdin=text)
    hook, begun = repo.folder / ".git" / "hooks" / "pre-auto-gc", repo.folder / "begun"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n: > '{begun}'\nexec sleep 3\n")
    hook.chmod(0o755)
    monkeypatch.setattr(refs, "PACK_SECONDS", 0.5)

    refs.pack(here.at)

    assert begun.exists()


def blob_id(text: str) -> str:
    return hashlib.sha1(f"blob {len(text)}\0{text}".encode(), usedforsecurity=False).hexdigest()
