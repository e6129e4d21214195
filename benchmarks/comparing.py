"""Peers beside us, on the same number of objects, in the same turns.

Effects: makes repositories and what peers need, runs processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import repositories, rig
from benchmarks.peers import Peer, check_jsonschema, dvc, gto, terraform
from benchmarks.planning import CHECK, COLD, OURS
from benchmarks.results import Figure
from benchmarks.rig import Command

GROUP = "peers"
PEERS = (terraform.PEER, dvc.PEER, gto.PEER, check_jsonschema.PEER)
RUNS = 5


def measure(
    at: Path, sizes: Sequence[int], programs: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[Figure]:
    """Measure peers whose program is there, and what we take for the same."""
    commands = [
        command
        for amount in sizes
        for command in (*_ours(at / str(amount), amount, say), *_theirs(at / str(amount), amount, programs, say))
    ]
    say(f"{len(commands)} commands in turns, {RUNS + 1} times")
    for took in rig.medians(commands, RUNS):
        yield Figure(GROUP, took.command.what, took.command.objects, took.seconds, "s")


def _ours(at: Path, amount: int, say: Callable[[str], None]) -> Iterator[Command]:
    say(f"making a repository of {amount:,} specs")
    warm, cold = at / "warm", at / "cold"
    for folder in (warm, cold):
        repositories.make(folder, amount)
    repositories.fill(warm)
    for what, arguments in OURS.items():
        yield Command(what, amount, arguments, warm)
    yield Command(COLD, amount, OURS[CHECK], cold, before=partial(rig.forget_index, cold))


def _theirs(at: Path, amount: int, programs: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Command]:
    for peer in PEERS:
        if program := programs.get(peer.program):
            say(f"making {amount:,} objects for {peer.program}")
            folder = at / peer.program
            peer.prepare(folder, amount, program)
            yield Command(peer.what, amount, peer.arguments(program), folder)


def missing(programs: Mapping[str, str], why: str) -> dict[str, str]:
    """Say which peers are not there; ``why`` tells what went wrong with those that pip brings."""
    return {peer.what: _why(peer, why) for peer in PEERS if peer.program not in programs}


def _why(peer: Peer, why: str) -> str:
    return f"there is no {peer.program} here{f': {why}' if why else '.'} {peer.remedy}"
