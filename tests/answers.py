"""Results that nothing computed: what a gate would find, written down."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.records import Outcome, Provenance
from llmops.domain.resources import Key
from llmops.environments.workspaces import open_store
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import pull_request
from llmops.gates.pull_request import GatePlan
from llmops.ledger import ledger
from llmops.store import blobs
from llmops.store.blobs import Store
from tests.conftest import Shell
from tests.repos import Repo

TICKS = itertools.count()
"""What is written down later was made later, so that it counts."""


PROVENANCE = Provenance(commit="c", actor="test", run="", started="2026-01-01T00:00:00Z", seconds=1.0, environment={})


GOOD, WORSE = [1.0] * 100, [1.0] * 60 + [0.0] * 40


def survey(repo: Repo) -> GatePlan:
    return pull_request.prepare(repo.workspace(), repo.desire("HEAD~1"), repo.desire("HEAD"))


def owed(found: GatePlan) -> set[tuple[str, str]]:
    """Return what is owed, and of which side."""
    base = found.base.graph
    return {("base" if task.desired.graph is base else "head", str(task.action.key)) for task in found.tasks}


def pretend(repo: Repo, *keys: str) -> list[Digest]:
    """Write down for the base that these were made, with bytes in the store; gives the digests of the bytes."""
    graph, kept = repo.desire("HEAD~1").graph, open_store(repo.workspace())
    outcomes = []
    for key in map(Key.parse, keys):
        for unit in graph[key].units:
            outputs = {"x": folder_of(kept, {"x": f"{key} {unit.digest}"})}
            outcomes.append(outcome(unit.digest, key=key, part=unit.label, outputs=outputs))
    ledger.record(repo.ledger(), outcomes, "pretended")
    return [next(iter(one.outputs.values())) for one in outcomes]


def folder_of(kept: Store, files: dict[str, str]) -> Digest:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        return blobs.add_folder(kept, Path(folder))


def outcome(unit: Digest, **fields: Any) -> Outcome:
    """Make an outcome of which only some fields matter."""
    others = {"key": Key("Dish", "d"), "part": "", "step": "x", "outputs": {}, "metrics": {}, "provenance": PROVENANCE}
    return Outcome(unit=unit, **others | fields)


def evidence_of(repo: Repo, items: list[Item], facts: SuiteFacts) -> Digest:
    """Store what an evaluation leaves."""
    files = {
        evidence.ITEMS: "\n".join(msgspec.json.encode(item).decode() for item in items),
        evidence.FACTS: msgspec.json.encode(facts).decode(),
    }
    return folder_of(open_store(repo.workspace()), files)


def forget(repo: Repo, digest: Digest) -> None:
    folder = repo.workspace().folder / "store"
    (path,) = (path for path in folder.rglob("*") if path.is_file() and digest in f"{path.parent.name}{path.name}")
    path.unlink()


def answered(
    repo: Repo, revision: str, scores: dict[str, list[float]], lower: tuple[str, ...] = (), question: str = "q"
) -> None:
    """Write down that everything of a revision was made, and that its evaluations found these scores."""
    numbers = range(len(next(iter(scores.values()))))
    items = [
        Item(id=str(n), question=question, target="t", answer="a", scores={name: scores[name][n] for name in scores})
        for n in numbers
    ]
    found(repo, revision, items, SuiteFacts(metrics=tuple(scores), lower_is_better=lower))


def found(
    repo: Repo,
    revision: str,
    items: list[Item],
    facts: SuiteFacts,
    calls: float | None = 1.0,
    trial: int | None = None,
) -> None:
    """Write down that everything of a revision was made, and that its evaluations (or one trial) found these items."""
    fields: dict[str, Any] = {
        "outputs": {"evidence": evidence_of(repo, items, facts)},
        "metrics": {} if calls is None else {"calls": calls},
        "provenance": replace(PROVENANCE, started=f"2026-01-01T00:00:00.{next(TICKS):06d}Z"),
    }
    outcomes = [
        outcome(unit.digest, key=key, part=unit.label, **fields)
        for key, node in repo.desire(revision).graph.nodes.items()
        for unit in node.units
        if trial is None or unit.trial == trial
    ]
    ledger.record(repo.ledger(), outcomes, "answered")


def retrained(repo: Repo) -> None:
    """Change the model that the evaluation asks."""
    repo.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    repo.commit()


def reports(shell: Shell) -> list[dict[str, object]]:
    told: list[dict[str, object]] = json.loads(shell.out)["reports"]
    return told
