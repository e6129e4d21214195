"""Grants the lease of an environment to one writer at a time, even if a holder pauses and continues later.

A lease expires after a while, and at once when its holder was a process of this machine that has ended. Its number, the
fence, rises with every holder; writes of the ledger and changes of routes under an older number are refused.

Effects: reads and writes the ledger, inspects processes of this machine.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import SHORT
from llmops.domain.problems import Held, Retry
from llmops.domain.records import EnvironmentState, Lease
from llmops.git import refs
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger

SECONDS = 600.0
"""Duration of a lease; it is renewed when half of it is over."""
CONSUMED = 100
"""Number of applied plans that are remembered."""


class ApplyClaim(Struct, frozen=True, kw_only=True):
    """Plan and commit of an apply, recorded with its lease: the plan and older commits are refused from then on."""

    plan: str = ""
    commit: str = ""
    """Commit of the apply, or '' for maintenance."""
    older: bool = False


NO_COMMIT = ApplyClaim()


def take(where: Ledger, actor: str, claim: ApplyClaim = NO_COMMIT) -> int:
    """Acquire the lease and return its fence.

    Raises `Held` while another run has the lease, `Retry` when the plan was applied before, or the commit is older than
    one whose apply began.
    """
    process = _process(os.getpid())

    def change(state: EnvironmentState) -> EnvironmentState:
        lease = state.lease
        if lease is not None and lease.process != process and is_held(lease):
            left = lease.until - time.time()
            raise Held(
                f"{lease.holder} is applying to this environment. "
                f"Wait for it. If it is dead, its lease expires in {left:.0f} s, "
                f"or `llmops unlock -e {where.environment}` ends it."
            )
        if claim.plan and claim.plan in state.consumed:
            raise Retry("this plan was applied before. Make a new one with `llmops plan`.")
        if not claim.older and refs.is_older(where.at, claim.commit, state.begun):
            raise Retry(
                f"commit {claim.commit[:SHORT]} is older than {state.begun[:SHORT]}, "
                f"whose apply to {where.environment} has begun; nothing was changed. "
                "Run `git pull` and apply the newest commit. "
                "To go back, use `llmops rollback` or `git revert`; --allow-older applies this commit."
            )
        fence = state.fence + 1
        holder = f"{actor}@{socket.gethostname()}:{os.getpid()}"
        new = Lease(holder=holder, process=process, fence=fence, until=time.time() + SECONDS)
        consumed = (*state.consumed, *([claim.plan] if claim.plan else []))[-CONSUMED:]
        return replace(state, lease=new, fence=fence, consumed=consumed, begun=claim.commit or state.begun)

    return ledger.transact(where, change, f"lease: {actor}").fence


def guard(fence: int) -> Callable[[EnvironmentState], EnvironmentState]:
    """Function that returns a state with the lease renewed if due, and raises `Retry` when another fence holds it."""

    def check(state: EnvironmentState) -> EnvironmentState:
        lease = state.lease
        if lease is None or lease.fence != fence:
            raise Retry("this run has lost its lease to another run. Run it again.")
        if lease.until - time.time() > SECONDS / 2:
            return state
        return replace(state, lease=replace(lease, until=time.time() + SECONDS))

    return check


def give_back(where: Ledger, fence: int, commit: str = "") -> None:
    """End the lease; with a commit, record it as applied. Does nothing when the lease was lost."""

    def change(state: EnvironmentState) -> EnvironmentState:
        if state.lease is None or state.lease.fence != fence:
            return state
        return replace(state, lease=None, commit=commit or state.commit)

    ledger.transact(where, change, f"applied: {commit[:12]}" if commit else "lease: given back")


@contextmanager
def take_all(environments: Iterable[Ledger], actor: str) -> Iterator[Callable[[], None]]:
    """Hold the leases of several environments; yields a function that renews them and raises when one was lost."""
    with ExitStack() as stack:
        fences: list[tuple[Ledger, int]] = []
        for where in environments:
            fence = take(where, actor)
            stack.callback(give_back, where, fence)
            fences.append((where, fence))

        def renew() -> None:
            for where, fence in fences:
                ledger.transact(where, guard(fence), "lease: renewed")

        yield renew


def revoke(where: Ledger, lease: Lease) -> int:
    """End the lease of another holder, which can never write again; returns the new fence.

    Raises `Retry` when the lease has changed hands.
    """

    def change(state: EnvironmentState) -> EnvironmentState:
        if state.lease is None or state.lease.fence != lease.fence:
            raise Retry(f"{lease.holder} no longer holds the lease. Run `llmops unlock` to see who does.")
        return replace(state, lease=None, fence=state.fence + 1)

    return ledger.transact(where, change, f"lease: taken from {lease.holder}").fence


def taken_at(where: Ledger, lease: Lease) -> float:
    """Time at which a lease was acquired, in seconds since the epoch."""
    taken = time.time()
    for version in ledger.state_history(where):
        if version.fence != lease.fence:
            break
        taken = version.at
    return taken


class HolderLocation(StrEnum):
    """Location of the process that holds a lease, as far as this machine can tell."""

    HERE = "runs on this machine"
    ENDED = "was a process of this machine and has ended"
    ELSEWHERE = "runs on another machine, or belongs to an earlier boot of this one"


def holder_location(process: str) -> HolderLocation:
    place, _, which = process.rpartition(" ")
    if place != _here():
        return HolderLocation.ELSEWHERE
    return HolderLocation.HERE if process == _process(int(which.partition(":")[0])) else HolderLocation.ENDED


def is_held(lease: Lease) -> bool:
    """Whether a lease is valid: not expired, and not of an ended process of this machine."""
    return lease.until > time.time() and holder_location(lease.process) is not HolderLocation.ENDED


def _process(pid: int) -> str:
    """Unique name of a process: process ids and host names are reused."""
    return f"{_here()} {pid}:{_started(pid)}"


def _here() -> str:
    """Name of this boot of this machine and its namespace of process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink().name}"


def _started(pid: int) -> str:
    """Start of a process in clock ticks since boot; '' when it does not run (a zombie does not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
