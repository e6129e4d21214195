"""The lease of an environment: one writer at a time, even when one stops in the middle and wakes up later.

A lease lapses after a while, and at once when its holder was a process of this machine that is gone. Its number, the
fence, rises with every holder; every write of the ledger and every change of routes is refused under an old number.

Effects: reads and writes the ledger, looks at processes of this machine.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import SHORT
from llmops.domain.problems import Held, Retry
from llmops.domain.records import EnvironmentState, Lease
from llmops.git import refs
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger

SECONDS = 600.0
"""How long a lease holds without being renewed; it is renewed when half of that is over."""
CONSUMED = 100
"""How many applied plans are remembered."""


class ApplyClaim(Struct, frozen=True, kw_only=True):
    """What an apply is about to do; noted with its lease, so that neither the same nor an older one comes after it."""

    plan: str = ""
    """'' is no plan."""
    commit: str = ""
    """'' is none: what is done is not about a commit."""
    older: bool = False
    """Whether the commit may come before one whose apply began earlier."""


NO_COMMIT = ApplyClaim()
"""For what takes the lease to clear up."""


def take(where: Ledger, actor: str, claim: ApplyClaim = NO_COMMIT) -> int:
    """Take the lease and give the fence.

    Raises `Held` while another run has the lease, `Retry` when the plan was applied before, or the commit comes before
    one that another run went on to.
    """
    process = _process(os.getpid())

    def change(state: EnvironmentState) -> EnvironmentState:
        lease = state.lease
        if lease is not None and lease.process != process and is_held(lease):
            left = lease.until - time.time()
            raise Held(
                f"{lease.holder} is applying to this environment. "
                f"Wait for it; if it is dead, its lease lapses in {left:.0f} s, "
                f"or `llmops unlock -e {where.environment}` ends it."
            )
        if claim.plan and claim.plan in state.consumed:
            raise Retry("this plan was applied before; a plan is applied once. Make a new one with `llmops plan`.")
        if not claim.older and refs.is_older(where.at, claim.commit, state.begun):
            raise Retry(
                f"commit {claim.commit[:SHORT]} comes before {state.begun[:SHORT]}, whose apply to {where.environment} "
                "began already, and nothing was done. Apply that one, or what came after it: `git pull`. To go back, "
                "make a commit that does: `llmops rollback` or `git revert`; --allow-older applies this one."
            )
        fence = state.fence + 1
        holder = f"{actor}@{socket.gethostname()}:{os.getpid()}"
        mine = Lease(holder=holder, process=process, fence=fence, until=time.time() + SECONDS)
        consumed = (*state.consumed, *([claim.plan] if claim.plan else []))[-CONSUMED:]
        return replace(state, lease=mine, fence=fence, consumed=consumed, begun=claim.commit or state.begun)

    return ledger.transact(where, change, f"lease: {actor}").fence


def guard(fence: int) -> Callable[[EnvironmentState], EnvironmentState]:
    """Give a function that passes a state on while the lease with this fence holds, renewed when it is due."""

    def check(state: EnvironmentState) -> EnvironmentState:
        lease = state.lease
        if lease is None or lease.fence != fence:
            raise Retry("this run has lost its lease to another one. Run it again.")
        if lease.until - time.time() > SECONDS / 2:
            return state
        return replace(state, lease=replace(lease, until=time.time() + SECONDS))

    return check


def give_back(where: Ledger, fence: int, commit: str = "") -> None:
    """End the lease; with a commit, note it as applied. Nothing is done when the lease is not ours any more."""

    def change(state: EnvironmentState) -> EnvironmentState:
        if state.lease is None or state.lease.fence != fence:
            return state
        return replace(state, lease=None, commit=commit or state.commit)

    ledger.transact(where, change, f"applied: {commit[:12]}" if commit else "lease: given back")


@contextmanager
def all_of(environments: Iterable[Ledger], actor: str) -> Iterator[Callable[[], None]]:
    """Hold the leases of several environments; gives a function that renews them, and raises when one was lost."""
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
    """End a lease that somebody else has, and give the new fence: its holder can never write again.

    Raises `Retry` when it is another's by now.
    """

    def change(state: EnvironmentState) -> EnvironmentState:
        if state.lease is None or state.lease.fence != lease.fence:
            raise Retry(f"{lease.holder} does not hold the lease any more. Look again: `llmops unlock`.")
        return replace(state, lease=None, fence=state.fence + 1)

    return ledger.transact(where, change, f"lease: taken from {lease.holder}").fence


class _Fence(Struct):
    fence: int = 0


def since(where: Ledger, lease: Lease) -> float:
    """Give when a lease was taken, seconds since the epoch."""
    taken = time.time()
    for moment in ledger.moments(where):
        if msgspec.json.decode(moment.data or b"{}", type=_Fence).fence != lease.fence:
            break
        taken = moment.at
    return taken


class HolderLocation(StrEnum):
    """What can be seen from here of the process that holds a lease."""

    HERE = "runs on this machine"
    ENDED = "was a process of this machine and does not run any more"
    ELSEWHERE = "cannot be seen from here: it is of another machine, or of an earlier boot of this one"


def holder_location(process: str) -> HolderLocation:
    """Say whether the process that holds a lease still runs."""
    place, _, which = process.rpartition(" ")
    if place != _here():
        return HolderLocation.ELSEWHERE
    return HolderLocation.HERE if process == _process(int(which.partition(":")[0])) else HolderLocation.ENDED


def is_held(lease: Lease) -> bool:
    """Whether a lease counts: it has not lapsed, and its process is not one of this machine that is gone."""
    return lease.until > time.time() and holder_location(lease.process) is not HolderLocation.ENDED


def _process(pid: int) -> str:
    """Name a process so that nothing else is called so: process ids come again, and so do host names."""
    return f"{_here()} {pid}:{_started(pid)}"


def _here() -> str:
    """Name this boot of this machine, and the space that its process ids count in."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink().name}"


def _started(pid: int) -> str:
    """Give when a process was started, in clock ticks since boot; '' when it does not run (a zombie does not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
