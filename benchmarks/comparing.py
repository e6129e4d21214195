"""Measures llmops and its peers on the same number of objects, in turns.

Effects: creates repositories, runs processes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import repositories, rig
from benchmarks.peers import check_jsonschema, dvc, gto, terraform
from benchmarks.planning import CHECK, COLD, OURS
from benchmarks.results import Figure
from benchmarks.rig import Command

GROUP = "peers"
PEERS = (terraform.PEER, dvc.PEER, gto.PEER, check_jsonschema.PEER)
RUNS = 5


def measure(
    at: Path, sizes: Sequence[int], programs: Mapping[str, str], log: Callable[[str], None]
) -> Iterator[Figure]:
    """Measure the installed peers, and our commands that answer the same question."""
    commands = [
        command
        for amount in sizes
        for command in (*_ours(at / str(amount), amount, log), *_theirs(at / str(amount), amount, programs, log))
    ]
    log(f"{len(commands)} commands in turns, {RUNS + 1} times")
    yield from rig.figures(GROUP, commands, RUNS)


def _ours(at: Path, amount: int, log: Callable[[str], None]) -> Iterator[Command]:
    log(f"making a repository of {amount:,} specs")
    warm, cold = at / "warm", at / "cold"
    for folder in (warm, cold):
        repositories.make(folder, amount)
    repositories.fill(warm)
    for what, arguments in OURS.items():
        yield Command(what, amount, arguments, warm)
    yield Command(COLD, amount, OURS[CHECK], cold, before=partial(rig.forget_index, cold))


def _theirs(at: Path, amount: int, programs: Mapping[str, str], log: Callable[[str], None]) -> Iterator[Command]:
    for peer in PEERS:
        if program := programs.get(peer.program):
            log(f"making {amount:,} objects for {peer.program}")
            folder = at / peer.program
            peer.prepare(folder, amount, program)
            yield Command(peer.what, amount, peer.arguments(program), folder)


def missing(programs: Mapping[str, str], why: str) -> dict[str, str]:
    """Name the peers that are missing; ``why`` is the error of pip, or ''."""
    reason = f": {why}" if why else "."
    absent = [peer for peer in PEERS if peer.program not in programs]
    return {peer.what: f"there is no {peer.program} here{reason} {peer.remedy}" for peer in absent}
