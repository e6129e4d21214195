"""Writes the orders of units, and reads the results from their folders.

An order holds everything that its step may read: the body, the pins, the files and the outputs of its dependencies, all
by digest. So it can run on any machine that reaches the store.

Effects: reads the ledger, reads and writes the store and the folders of orders.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Raw

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.orders import Input, Job, JobResult, OrderReport, Progress
from llmops.domain.plans import BuildAction
from llmops.domain.resources import Files, Key, Node, Scope
from llmops.host import disk
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.graph import Graph
from llmops.store import blobs
from llmops.store.blobs import Store


def job(action: BuildAction, desired: Desired, where: Ledger, store: Store) -> Job:
    """Describe one unit to a step, with everything that it may read; the files of the spec go into the store."""
    node = desired.graph[action.key]
    unit = next(unit for unit in node.units if unit.digest == action.unit)
    return Job(
        unit=unit.digest,
        key=action.key,
        field=unit.field,
        index=unit.index,
        body=Raw(msgspec.json.encode(node.spec.body)),
        files=_store_files(node, desired.files, store),
        pins={pin.name: pin.value for pin in node.spec.pins},
        inputs={
            at: _input(desired.graph[key], desired.files, where, store) for at, key in _inputs(node, desired.graph)
        },
    )


def _inputs(node: Node, graph: Graph) -> Iterator[tuple[str, Key]]:
    """Yield the dependencies in the digest of a unit, by role, and those that decide how a live one answers."""
    for need in node.needs:
        if need.scope is not Scope.NONE:
            yield need.at, need.key
            inner = (each for each in graph[need.key].needs if each.scope is Scope.LIVE)
            yield from ((f"{need.at}.{each.at}", each.key) for each in inner)


def _input(node: Node, files: Files, where: Ledger, store: Store) -> Input:
    return Input(
        key=node.key,
        body=Raw(msgspec.json.encode(node.spec.body)),
        files=_store_files(node, files, store),
        outputs=dict(outputs(node, where)),
    )


def _store_files(node: Node, files: Files, store: Store) -> dict[str, Digest]:
    named = (use.path for use in node.spec.files if use.scope is not Scope.NONE)
    paths = (path for name in named for path in ((name,) if name in files else files.names(name)))
    return {path: blobs.add_bytes(store, files[path]) for path in paths if path in files}


def outputs(node: Node, where: Ledger) -> Mapping[str, Digest]:
    outcomes = ledger.outcomes_of(where, [unit.digest for unit in node.units])
    return {name: digest for outcome in outcomes.values() for name, digest in outcome.outputs.items()}


def outputs_of(units: Sequence[Digest], where: Ledger, store: Store) -> tuple[dict[str, Digest], ...]:
    """Outputs of those units that are built, if the store has them."""
    built = (outcome.outputs for outcome in ledger.outcomes_of(where, units).values())
    return tuple(outputs for outputs in built if all(blobs.complete(store, digest) for digest in outputs.values()))


def report(folder: Path) -> OrderReport | None:
    """Read the report of an order; None before the order has ended."""
    return disk.load(folder / orders.OUTCOME, OrderReport)


def progress(folder: Path) -> Progress | None:
    """Read the progress of an order; None before it reports any."""
    return disk.load(folder / orders.PROGRESS, Progress)


def _has_failed(folder: Path) -> bool:
    ended = report(folder)
    return ended is not None and not ended.is_well


def reopen(folder: Path) -> None:
    """Let an order continue whose results are to grow."""
    (folder / orders.OUTCOME).unlink(missing_ok=True)


def forget_invalid(folder: Path, store: Store) -> None:
    """Remove results that are missing from the store, and the report of an order that lacks one or failed."""
    lost = [path for path in (folder / orders.RESULTS).glob("*.json") if not _is_complete(path, store)]
    for path in lost:
        path.unlink()
    if lost or _has_failed(folder):
        (folder / orders.OUTCOME).unlink(missing_ok=True)


def result(folder: Path, unit: Digest) -> JobResult | None:
    """Read the result of a unit; None if there is none that can be read."""
    return disk.load(folder / orders.RESULTS / f"{unit}.json", JobResult)


def _is_complete(path: Path, store: Store) -> bool:
    result = disk.load(path, JobResult)
    return result is not None and all(blobs.complete(store, digest) for digest in result.outputs.values())


def sweep(folder: Path) -> None:
    """Remove the scratch files of an order that did not fail; its log and results stay."""
    if not _has_failed(folder):
        shutil.rmtree(folder / "scratch", ignore_errors=True)
