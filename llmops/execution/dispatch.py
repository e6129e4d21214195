"""unit -> order: what a step is told, and the folder that it is told in.

Everything that a step may read goes into its order: the body, the pins, the files and what was made of what it leans
on, all by digest. So an order can be carried to any machine that reaches the store.

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
from llmops.domain.orders import Input, Job, JobResult, OrderReport
from llmops.domain.plans import BuildAction
from llmops.domain.resources import Files, Key, Node, Scope
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.graph import Graph
from llmops.store import blobs
from llmops.store.blobs import Store


def job(action: BuildAction, wanted: Desired, where: Ledger, into: Store) -> Job:
    """State what a step is to make, with everything it may read; the files that the spec names go into the store."""
    node = wanted.graph[action.key]
    unit = next(unit for unit in node.units if unit.digest == action.unit)
    return Job(
        unit=unit.digest,
        key=action.key,
        field=unit.field,
        index=unit.index,
        body=Raw(msgspec.json.encode(node.spec.body)),
        files=_stored_files(node, wanted.files, into),
        pins={pin.name: pin.value for pin in node.spec.pins},
        inputs={at: _input(wanted.graph[key], wanted.files, where, into) for at, key in _inputs(node, wanted.graph)},
    )


def _inputs(node: Node, graph: Graph) -> Iterator[tuple[str, Key]]:
    """Give all that decides a unit, by role; of something live, what decides how it answers, too."""
    for need in node.needs:
        if need.scope is not Scope.NONE:
            yield need.at, need.key
            inner = (one for one in graph[need.key].needs if one.scope is Scope.LIVE)
            yield from ((f"{need.at}.{one.at}", one.key) for one in inner)


def _input(node: Node, files: Files, where: Ledger, into: Store) -> Input:
    return Input(
        key=node.key,
        body=Raw(msgspec.json.encode(node.spec.body)),
        files=_stored_files(node, files, into),
        outputs=dict(outputs(node, where)),
    )


def _stored_files(node: Node, files: Files, into: Store) -> dict[str, Digest]:
    """Put the files that a spec names where every machine can read them."""
    named = (use.path for use in node.spec.files if use.scope is not Scope.NONE)
    paths = (path for name in named for path in ((name,) if name in files else files.names(name)))
    return {path: blobs.add_bytes(into, files[path]) for path in paths if path in files}


def outputs(node: Node, where: Ledger) -> Mapping[str, Digest]:
    """Give everything that was made of a resource, by name."""
    found = (ledger.outcome(where, unit.digest) for unit in node.units)
    return {name: digest for one in found if one for name, digest in one.outputs.items()}


def outputs_of(units: Sequence[Digest], where: Ledger, kept: Store) -> tuple[dict[str, Digest], ...]:
    """The outputs of some units, as far as they are built and in the store."""
    outcomes = (ledger.outcome(where, unit) for unit in units)
    built = (outcome.outputs for outcome in outcomes if outcome)
    return tuple(outputs for outputs in built if all(blobs.complete(kept, digest) for digest in outputs.values()))


def report(folder: Path) -> OrderReport | None:
    """Give how an order ended, as its process said; None if it has not said."""
    try:
        return msgspec.json.decode((folder / orders.OUTCOME).read_bytes(), type=OrderReport)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _has_failed(folder: Path) -> bool:
    said = report(folder)
    return said is not None and not said.is_well


def reopen(folder: Path) -> None:
    """Let an order go on whose results are to grow; it begins with what there is."""
    (folder / orders.OUTCOME).unlink(missing_ok=True)


def forget_what_does_not_hold(folder: Path, kept: Store) -> None:
    """Let an order be done again that failed, or whose results are not in the store any more."""
    gone = [path for path in (folder / orders.RESULTS).glob("*.json") if not _is_kept(path, kept)]
    for path in gone:
        path.unlink()
    if gone or _has_failed(folder):
        (folder / orders.OUTCOME).unlink(missing_ok=True)


def result(folder: Path, unit: Digest) -> JobResult | None:
    """Read what an order made of a unit; None when there is nothing, or nothing that can be read."""
    return _decoded(folder / orders.RESULTS / f"{unit}.json")


def _decoded(path: Path) -> JobResult | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobResult)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _is_kept(path: Path, kept: Store) -> bool:
    made = _decoded(path)
    return made is not None and all(blobs.complete(kept, digest) for digest in made.outputs.values())


def sweep(folder: Path) -> None:
    """Remove what an order worked with; its log and results stay."""
    if not _has_failed(folder):
        shutil.rmtree(folder / "scratch", ignore_errors=True)
