"""Opens an environment for Python programs.

    import llmops

    production = llmops.open("shop", environment="production")
    production.apply(emit=print)
    production.evidence("topics").to_pandas()

Each method does what the command of its name does, by the same function.

Effects: reads git and environment variables, fetches the ledger; `apply` trains, evaluates and releases.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from llmops import reconcile
from llmops.api import opening, planning, reading
from llmops.api.reading import Explanation
from llmops.domain.events import EventSink
from llmops.domain.plans import Change, Plan
from llmops.domain.problems import Misused
from llmops.environments import workspaces
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.execution import evidence as suites
from llmops.host.signals import NEVER, Stop
from llmops.index import commits
from llmops.ledger import ledger
from llmops.planning.proposals import Proposal
from llmops.planning.status import Entry, Overview
from llmops.reconcile import STRICT, ApplyOptions, ApplyResult
from llmops.specs import diff
from llmops.specs.settings import Trust
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


class Environment(Struct, frozen=True, kw_only=True):
    """One environment of a repository: what commits declare for it, what was built, and what runs.

    Methods raise the errors of `llmops.domain.problems`, each named for its remedy.
    """

    workspace: Workspace
    policy: TrustPolicy

    def plan(self, revision: str = "HEAD", base: str | None = None, *, worktree: bool = False) -> Proposal:
        """Plan what makes the environment match a revision, or with ``worktree`` the working copy.

        ``base`` is the revision since which changes are shown (default: the commit applied last). Nothing is changed.
        Raises `Invalid` with every problem of the specs.
        """
        if worktree:
            return planning.plan_working_copy(self.workspace, base)
        return planning.plan(self.workspace, self.policy, revision, base)

    def apply(
        self,
        plan: Plan | None = None,
        *,
        emit: EventSink | None = None,
        options: ApplyOptions = STRICT,
        stop: Stop = NEVER,
    ) -> ApplyResult:
        """Carry out a plan, once; without one, what HEAD declares. Each event is passed to ``emit`` as it happens.

        Applying HEAD is safe to repeat: finished work is reused, interrupted work is continued. The result has what
        failed to build, was blocked or is unhealthy. Raises `Refused` without a ledger or trust, `Retry` for a plan
        that is stale, and as `llmops.reconcile.apply`.
        """
        if plan is not None and plan.commit == planning.SPECULATIVE:
            raise Misused("a plan of the working copy cannot be applied. Commit first.")
        proposal = planning.to_apply(self.workspace, self.policy, plan)
        initiator = opening.initiator(proposal.plan.commit, "apply")
        return reconcile.apply(self.workspace, proposal, initiator, emit or (lambda _: None), options, stop)

    def status(self) -> Overview:
        """Report how every resource of HEAD stands, and which revisions get the traffic."""
        return reading.overview(self.workspace)

    def history(self, resource: str) -> tuple[Entry, ...]:
        """List the results and revisions of a resource of HEAD, the newest first."""
        return reading.history(self.workspace, resource)[1]

    def diff(self, old: str, new: str = "HEAD") -> tuple[Change, ...]:
        """List the resources that differ between two revisions."""
        graphs = [commits.desire(self.workspace.commits, revision).graph for revision in (old, new)]
        return diff.compare(*graphs)

    def why(self, resource: str, since: str | None = None, revision: str = "HEAD") -> Explanation:
        """Follow a resource to the first input that differs from an earlier one (default: the commit applied last)."""
        return reading.why(self.workspace, resource, since, revision)

    def outcomes(self, resource: str | None = None) -> Table:
        """Tabulate the recorded results, of one resource of HEAD or of all, the oldest first.

        ``seconds`` is the time of the build. Metrics are columns named ``metrics.NAME``.
        """
        return _outcomes(self.workspace, resource)

    def evidence(self, evaluation: str, revision: str = "HEAD") -> Table:
        """Tabulate the items of an Evaluation as a revision declares it: question, target, answer, and every score.

        Scores are columns named ``scores.METRIC``. A suite that was not evaluated, or whose bytes are not in this
        store, has no rows.
        """
        return _evidence(self.workspace, evaluation, revision)


def open(  # noqa: A001  read as llmops.open
    path: str | Path = ".",
    *,
    environment: str | None = None,
    revision: str = "HEAD",
    offline: bool = False,
    trust: Trust | None = None,
    trusted_keys: Sequence[str] = (),
) -> Environment:
    """Open an environment of the repository around a folder, with the settings of a revision.

    The ledger is fetched unless ``offline``. ``trust`` is the least that commits need to be applied; ``trusted_keys``
    are files of allowed signers, or GnuPG homes. As on the command line, the variables LLMOPS_TRUST,
    LLMOPS_TRUSTED_KEYS, LLMOPS_SIGNING_KEY and LLMOPS_LEDGER_KEYS count, too.
    """
    workspace = opening.workspace(path, environment=environment, revision=revision, offline=offline)
    return Environment(workspace=workspace, policy=opening.policy(workspace, trust, trusted_keys))


def _outcomes(workspace: Workspace, resource: str | None = None) -> Table:
    key = commits.find(workspace.commits, resource)[0] if resource else None
    built = [outcome for outcome in ledger.outcomes(workspace.ledger).values() if key in (None, outcome.key)]
    rows = []
    for outcome in sorted(built, key=lambda outcome: (outcome.provenance.started, outcome.unit)):
        origin = outcome.provenance
        fixed = (outcome.key.kind, outcome.key.name, outcome.part, outcome.unit)
        metrics = {f"metrics.{name}": figure for name, figure in outcome.metrics.items()}
        rows.append(((*fixed, origin.commit, origin.started, origin.seconds), metrics))
    return _table(("kind", "name", "part", "unit", "commit", "started", "seconds"), rows)


def _evidence(workspace: Workspace, evaluation: str, revision: str = "HEAD") -> Table:
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
