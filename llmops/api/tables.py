"""Tabulates what the ledger and the store hold: outcomes of builds, and the evidence of evaluations.

Effects: reads git, the ledger and the store.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmops.domain.problems import Misused
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import evidence as suites
from llmops.index import commits
from llmops.ledger import ledger
from llmops.store import blobs


class Table(Struct, frozen=True):
    """Rows of values under named columns; None where a row has no value."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`. Raises `Misused` if pandas is not installed."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise Misused("pandas is not installed. Install it: `pip install pandas`.") from None
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def outcomes(workspace: Workspace, resource: str | None = None) -> Table:
    """Tabulate the recorded results, of one resource of HEAD or of all, the oldest first.

    ``seconds`` is the time of the build. Metrics are columns named ``metrics.NAME``.
    """
    key = commits.find(workspace.commits, resource)[0] if resource else None
    built = [outcome for outcome in ledger.outcomes(workspace.ledger).values() if key in (None, outcome.key)]
    rows = []
    for outcome in sorted(built, key=lambda outcome: (outcome.provenance.started, outcome.unit)):
        origin = outcome.provenance
        fixed = (outcome.key.kind, outcome.key.name, outcome.part, outcome.unit)
        metrics = {f"metrics.{name}": figure for name, figure in outcome.metrics.items()}
        rows.append(((*fixed, origin.commit, origin.started, origin.seconds), metrics))
    return _table(("kind", "name", "part", "unit", "commit", "started", "seconds"), rows)


def evidence(workspace: Workspace, evaluation: str, revision: str = "HEAD") -> Table:
    """Tabulate the items of an Evaluation as a revision declares it: question, target, answer, and every score.

    Scores are columns named ``scores.METRIC``. A suite that was not evaluated, or whose bytes are not in this store,
    has no rows.
    """
    key, desired = commits.find(workspace.commits, evaluation, revision)
    known = ledger.outcomes(workspace.ledger)
    store = workspaces.open_store(workspace)
    rows = []
    for unit in desired.graph[key].units:
        output = known[unit.digest].outputs.get(suites.EVIDENCE) if unit.digest in known else None
        for item in suites.load(store, output)[0] if output and blobs.complete(store, output) else ():
            fixed = (unit.label, unit.trial, item.id, item.cluster, item.question, item.target, item.answer)
            rows.append((fixed, {f"scores.{name}": score for name, score in item.scores.items()}))
    return _table(("suite", "trial", "item", "cluster", "question", "target", "answer"), rows)


def _table(columns: tuple[str, ...], rows: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> Table:
    more = sorted({name for _, figures in rows for name in figures})
    return Table((*columns, *more), tuple((*row, *(figures.get(name) for name in more)) for row, figures in rows))
