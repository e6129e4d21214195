"""subjects, suites -> a table: what the same questions find of each subject, beside the first.

The evidence of a subject is what the Evaluation would have if it named that one: its spec is restated with another
subject, so whatever was asked of whom before is found, and only the rest is asked.

Effects: makes the evidence that is missing, reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.events import EventSink
from llmops.domain.problems import Invalid, Problem
from llmops.domain.records import Initiator
from llmops.domain.resources import DetachedNodes, Key, Node
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildContext, BuildTask
from llmops.gates import judge, verdicts
from llmops.gates.comparison_plan import ComparisonPlan, SubjectEntry
from llmops.gates.verdicts import MISSING, Evidence, EvidenceStore
from llmops.index.commits import Desired
from llmops.index.outcomes import follow
from llmops.kinds import dataset
from llmops.language import prompts
from llmops.language.prompts import InvalidVariables
from llmops.planning import missing
from llmops.planning.missing import ResultRequest
from llmops.registry import PLUGINS
from llmops.specs import graph, loading, parsing
from llmops.statistics import contrasts
from llmops.statistics.contrasts import Contrast, Sample, Score


class ComparisonRow(Struct, frozen=True, kw_only=True):
    """One subject on one suite."""

    subject: str
    units: tuple[Digest, ...]
    """Its evidence, a unit for each trial."""
    score: Score | None = None
    contrast: Contrast | None = None
    """Beside the first; None for the first itself, and where there is nothing to compare."""
    note: str = ""
    """Why there is no score."""
    reused: bool = False
    """Its evidence was there already."""
    seconds: float = 0.0
    """How long that took to make, whenever it was made."""


class ComparisonTable(Struct, frozen=True, kw_only=True):
    """One suite and all subjects, in the order that they were named."""

    evaluation: Key
    suite: str
    metric: str
    lower_is_better: bool
    rows: tuple[ComparisonRow, ...]


class ComparisonResult(Struct, frozen=True, kw_only=True):
    """What a comparison found."""

    commit: str
    tables: tuple[ComparisonTable, ...]
    made: int = 0
    """How many units had to be made."""
    failed: Mapping[Digest, str] = {}

    @property
    def is_whole(self) -> bool:
        """Whether every subject has a score on every suite."""
        return all(row.score is not None for table in self.tables for row in table.rows)


class ComparedSubject(Struct, frozen=True):
    """A subject, and the commit as it would be if the chosen suites asked that one."""

    entry: SubjectEntry
    desired: Desired
    keys: tuple[Key, ...]


class PreparedComparison(Struct, frozen=True):
    """A comparison before anything is run for it."""

    commit: str
    sides: tuple[ComparedSubject, ...]
    owed: tuple[BuildTask, ...]


def prepare(workspace: Workspace, desired: Desired, comparison_plan: ComparisonPlan) -> PreparedComparison:
    """Say what has to be made. Raises `Invalid` with every reason why a subject cannot be asked."""
    sides, problems = [], []
    for entry in comparison_plan.entries:
        try:
            sides.append(_side(desired, entry))
            problems += [_about(entry, one) for one in _unfit(sides[-1])]
        except Invalid as error:
            problems += [_about(entry, one) for one in error.problems]
    if problems:
        raise Invalid(problems, "what was to be compared")
    done = follow(workspace.commits.index, workspace.ledger)
    tasks, _ = missing.find(workspace, [_want(side, sides) for side in sides], done)
    return PreparedComparison(desired.commit, tuple(sides), tuple(_named(task, sides) for task in tasks))


def _want(side: ComparedSubject, sides: Iterable[ComparedSubject]) -> ResultRequest:
    beside = tuple(other.desired.graph for other in sides if other is not side)
    return ResultRequest(side.desired, side.keys, beside)


def _about(entry: SubjectEntry, problem: Problem) -> Problem:
    return replace(problem, what=f"with {entry.name} as its subject: {problem.what}")


def _side(desired: Desired, entry: SubjectEntry) -> ComparedSubject:
    """Restate the chosen Evaluations with a subject; the suites that are not chosen are left out."""
    bodies = [(desired.graph[key].spec, body) for key, body in entry.bodies.items()]
    parsed = loading.with_bodies(bodies, desired.files, PLUGINS)
    made = graph.build(parsed, desired.files, PLUGINS, DetachedNodes(desired.graph.nodes))
    return ComparedSubject(entry, replace(desired, graph=made), tuple(entry.bodies))


def _unfit(side: ComparedSubject) -> Iterator[Problem]:
    """Say where the first row of a suite that will be asked does not fill in the prompt."""
    found = side.desired.graph
    for key in side.keys:
        needs = found[key].needs
        if prompt := next((found[need.key] for need in needs if need.at == "subject.prompt"), None):
            for rows in (found[need.key] for need in needs if need.field == "suites"):
                if why := _unfilled(prompt, rows, side.desired):
                    what = f"{prompt.key} cannot be filled in from {rows.key}: {why}"
                    remedy = "Give the rows that column, or ask through another prompt."
                    place = parsing.location(found[key].spec, side.desired.files)
                    yield place.problem(parsing.steps_of("suites"), what, remedy)


def _unfilled(prompt: Node, rows: Node, desired: Desired) -> str:
    """Say why a prompt cannot be filled in from the first row of a dataset; '' when it can, or nobody knows yet."""
    row = _first_row(rows.spec.body, desired)
    path, variables = prompt.spec.body.template, prompt.spec.body.variables
    if row is None:
        return ""
    try:
        prompts.fill(prompt.spec.body.turns(desired.files[path].decode() if path else None), variables, row)
    except InvalidVariables as error:
        return f"{error} The columns are {', '.join(sorted(row))}."
    return ""


def _first_row(body: Any, desired: Desired) -> dict[str, Any] | None:
    """Give the first row that is kept for evaluation, of those that lie in the repository."""
    if not isinstance(body, dataset.Dataset):
        return None
    paths = [source.path for source in body.sources if source.path is not None]
    rows = (row for path in paths for row in dataset.rows(path, desired.files[path], body.format))
    return next((row for row in rows if body.split is None or dataset.is_test(row, body.split)), None)


def _named(task: BuildTask, sides: Iterable[ComparedSubject]) -> BuildTask:
    """Say in the name of a task who is asked, where that is not the subject that the Evaluation names."""
    side = next(one for one in sides if one.desired is task.wanted)
    if task.action.key not in side.keys or task.action.key not in side.entry.others:
        return task
    label = f"{task.action.label} of {side.entry.name}"
    return replace(task, action=replace(task.action, label=label))


def run(
    found: PreparedComparison, build_context: BuildContext, initiator: Initiator, emit: EventSink
) -> ComparisonResult:
    """Make the evidence that is missing and compare. What could not be made is in the report."""
    result = executor.build(found.owed, build_context, initiator, emit)
    ran = {task.action.unit for task in found.owed}
    archive = EvidenceStore(build_context.ledger, build_context.store)
    tables = [_table(found, key, index, archive) for key, index in _suites(found.sides[0])]
    tables = [
        replace(one, rows=tuple(replace(row, reused=ran.isdisjoint(row.units)) for row in one.rows)) for one in tables
    ]
    return ComparisonResult(commit=found.commit, tables=_corrected(tables), made=len(result.made), failed=result.failed)


def _suites(side: ComparedSubject) -> Iterator[tuple[Key, int]]:
    for key in side.keys:
        yield from ((key, index) for index in range(len(side.desired.graph[key].spec.body.suites)))


class _Asked(Struct, frozen=True):
    """One subject's evidence of one suite."""

    name: str
    units: tuple[Digest, ...]
    evidence: Evidence | None


def _table(found: PreparedComparison, key: Key, index: int, archive: EvidenceStore) -> ComparisonTable:
    asked = [_asked(side, key, f"suites[{index}]", archive) for side in found.sides]
    suite = found.sides[0].desired.graph[key].spec.body.suites[index]
    known = next((one.evidence.facts for one in asked if one.evidence), None)
    metric = suite.metric or next(iter(known.metrics if known else ()), "")
    lower = bool(known and metric in known.lower_is_better)
    least = suite.judge.min_agreement if suite.judge else None
    samples = [verdicts.judge_doubt(one.evidence, metric, least) or _sample(one, metric, lower=lower) for one in asked]
    rows = [_row(one, sample, samples[0]) for one, sample in zip(asked, samples, strict=True)]
    first = replace(rows[0], contrast=None)
    return ComparisonTable(
        evaluation=key, suite=suite.label, metric=metric, lower_is_better=lower, rows=(first, *rows[1:])
    )


def _asked(side: ComparedSubject, key: Key, part: str, archive: EvidenceStore) -> _Asked:
    units = tuple(unit.digest for unit in side.desired.graph[key].units if unit.part == part)
    return _Asked(side.entry.name, units, verdicts.read(units, archive))


def _sample(asked: _Asked, metric: str, *, lower: bool) -> Sample | str:
    """Give what there is to compare, or say why there is nothing."""
    found = asked.evidence
    if found is None:
        return MISSING
    if why := found.lack(metric):
        return why
    if found.is_silent:
        return "no call of a model is known: that is no evidence"
    scores = found.scores(metric)
    return judge.unusable(scores) or Sample(scores=scores, clusters=found.clusters(), lower_is_better=lower)


def _row(asked: _Asked, sample: Sample | str, first: Sample | str) -> ComparisonRow:
    seconds = asked.evidence.seconds if asked.evidence else 0.0
    if isinstance(sample, str):
        return ComparisonRow(subject=asked.name, units=asked.units, note=sample, seconds=seconds)
    beside = contrasts.contrast(first, sample) if isinstance(first, Sample) else None
    score = contrasts.score(sample)
    return ComparisonRow(subject=asked.name, units=asked.units, score=score, contrast=beside, seconds=seconds)


def _corrected(tables: Iterable[ComparisonTable]) -> tuple[ComparisonTable, ...]:
    """Look at all differences of all tables as one family."""
    found = tuple(tables)
    every = [row.contrast for table in found for row in table.rows if row.contrast]
    corrected = iter(contrasts.together(every))
    return tuple(
        replace(
            table,
            rows=tuple(replace(row, contrast=next(corrected)) if row.contrast else row for row in table.rows),
        )
        for table in found
    )
