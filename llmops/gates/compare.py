"""Compares several subjects on the same suites: the score of each, and its difference to the first.

The Evaluation is restated with each subject in turn, so evidence has the digest that it has anyway. Existing evidence
is reused, and gates reuse what a comparison evaluated.

Effects: builds missing evidence, reads the ledger and the store.
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
from llmops.gates import judge, pairing, trials
from llmops.gates.comparison_plan import SubjectEntry
from llmops.gates.pairing import SuiteRef
from llmops.gates.trials import MISSING, EvidenceStore, SuiteEvidence
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
from llmops.statistics.contrasts import Contrast, MeanScore, SubjectScores


class ComparisonRow(Struct, frozen=True, kw_only=True):
    subject: str
    units: tuple[Digest, ...]
    """Units of its evidence, one for each trial."""
    score: MeanScore | None = None
    contrast: Contrast | None = None
    """Difference to the first subject; None for the first itself, and where they share no item."""
    note: str = ""
    reused: bool = False
    """All evidence existed before this run."""
    seconds: float = 0.0
    """Time that evaluating it took, in this run or an earlier one."""


class ComparisonTable(Struct, frozen=True, kw_only=True):
    """All subjects on one suite, in the order of the request."""

    evaluation: Key
    suite: str
    metric: str
    lower_is_better: bool
    rows: tuple[ComparisonRow, ...]


class ComparisonResult(Struct, frozen=True, kw_only=True):
    commit: str
    tables: tuple[ComparisonTable, ...]
    made: int = 0
    failed: Mapping[Digest, str] = {}

    @property
    def is_whole(self) -> bool:
        """Whether every subject has a score on every suite."""
        return all(row.score is not None for table in self.tables for row in table.rows)


class ComparedSubject(Struct, frozen=True):
    """A subject, and the commit restated with it as the subject of the chosen suites."""

    entry: SubjectEntry
    desired: Desired
    keys: tuple[Key, ...]


class PreparedComparison(Struct, frozen=True):
    commit: str
    subjects: tuple[ComparedSubject, ...]
    tasks: tuple[BuildTask, ...]


def prepare(workspace: Workspace, desired: Desired, entries: Iterable[SubjectEntry]) -> PreparedComparison:
    """Find the builds that are missing. Raises `Invalid` with all reasons why subjects cannot be evaluated."""
    subjects, problems = [], []
    for entry in entries:
        try:
            subjects.append(_restated(desired, entry))
            own = list(_prompt_problems(subjects[-1]))
        except Invalid as error:
            own = list(error.problems)
        problems += [replace(problem, what=f"with {entry.name} as its subject: {problem.what}") for problem in own]
    if problems:
        raise Invalid(problems, "what was to be compared")
    done = follow(workspace.commits.index, workspace.ledger)
    tasks, _ = missing.find(workspace, [_request(subject, subjects) for subject in subjects], done)
    return PreparedComparison(desired.commit, tuple(subjects), tuple(_labelled(task, subjects) for task in tasks))


def _request(subject: ComparedSubject, subjects: Iterable[ComparedSubject]) -> ResultRequest:
    others = tuple(other.desired.graph for other in subjects if other is not subject)
    return ResultRequest(subject.desired, subject.keys, others)


def _restated(desired: Desired, entry: SubjectEntry) -> ComparedSubject:
    """Build the graph of the chosen Evaluations with another subject and only the chosen suites."""
    bodies = [(desired.graph[key].spec, body) for key, body in entry.bodies.items()]
    parsed = loading.with_bodies(bodies, desired.files, PLUGINS)
    restated = graph.build(parsed, desired.files, PLUGINS, DetachedNodes(desired.graph.nodes))
    return ComparedSubject(entry, replace(desired, graph=restated), tuple(entry.bodies))


def _prompt_problems(subject: ComparedSubject) -> Iterator[Problem]:
    """Find suites whose first row does not fill the prompt of the subject."""
    nodes = subject.desired.graph
    for key in subject.keys:
        needs = nodes[key].needs
        if prompt := next((nodes[need.key] for need in needs if need.at == "subject.prompt"), None):
            for rows in (nodes[need.key] for need in needs if need.field == "suites"):
                if why := _unfilled(prompt, rows, subject.desired):
                    what = f"{prompt.key} cannot be filled in from {rows.key}: {why}"
                    location = parsing.location(nodes[key].spec, subject.desired.files)
                    yield location.problem(
                        parsing.steps_of("suites"), what, "Add that column to the rows, or use another prompt."
                    )


def _unfilled(prompt: Node, rows: Node, desired: Desired) -> str:
    """Reason why the first row of a dataset does not fill a prompt; '' where it does, or the rows are not here yet."""
    row = _first_test_row(rows.spec.body, desired)
    path, variables = prompt.spec.body.template, prompt.spec.body.variables
    if row is None:
        return ""
    try:
        prompts.fill(prompt.spec.body.turns(desired.files[path].decode() if path else None), variables, row)
    except InvalidVariables as error:
        return f"{error} The columns are {', '.join(sorted(row))}."
    return ""


def _first_test_row(body: Any, desired: Desired) -> dict[str, Any] | None:
    """First row of the test split, of the rows that are in the repository."""
    if not isinstance(body, dataset.Dataset):
        return None
    paths = [source.path for source in body.sources if source.path is not None]
    rows = (row for path in paths for row in dataset.rows(path, desired.files[path], body.format))
    return next((row for row in rows if body.split is None or dataset.is_test(row, body.split)), None)


def _labelled(task: BuildTask, subjects: Iterable[ComparedSubject]) -> BuildTask:
    """Add the subject to the label of a task, where it is not the subject that the Evaluation names."""
    subject = next(subject for subject in subjects if subject.desired is task.desired)
    if task.action.key not in subject.keys or task.action.key not in subject.entry.others:
        return task
    label = f"{task.action.label} of {subject.entry.name}"
    return replace(task, action=replace(task.action, label=label))


def run(
    prepared: PreparedComparison, build_context: BuildContext, initiator: Initiator, emit: EventSink
) -> ComparisonResult:
    """Build the missing evidence and compare. A failed build is part of the result, not an error."""
    result = executor.build(prepared.tasks, build_context, initiator, emit)
    source = EvidenceStore(build_context.ledger, build_context.store)
    planned = {task.action.unit for task in prepared.tasks}
    graphs = [subject.desired.graph for subject in prepared.subjects]
    names = [subject.entry.name for subject in prepared.subjects]
    tables = []
    for key in prepared.subjects[0].keys:
        for suites in zip(*(pairing.suites_of(key, nodes) for nodes in graphs), strict=True):
            rows = [
                ComparisonRow(subject=name, units=suite.units, reused=planned.isdisjoint(suite.units))
                for name, suite in zip(names, suites, strict=True)
            ]
            tables.append(_table(suites[0], rows, [trials.read(suite.units, source) for suite in suites]))
    return ComparisonResult(
        commit=prepared.commit, tables=_adjusted(tables), made=len(result.built), failed=result.failed
    )


def _table(suite: SuiteRef, rows: list[ComparisonRow], evidence: list[SuiteEvidence | None]) -> ComparisonTable:
    facts = next((run.facts for run in evidence if run), None)
    metric = suite.criteria.metric or next(iter(facts.metrics if facts else ()), "")
    lower_is_better = bool(facts and metric in facts.lower_is_better)
    agreement = suite.criteria.min_agreement
    scores = [_scores(run, metric, agreement, lower_is_better=lower_is_better) for run in evidence]
    times = [run.seconds if run else 0.0 for run in evidence]
    filled = [
        _filled(replace(row, seconds=seconds), own, scores[0])
        for row, own, seconds in zip(rows, scores, times, strict=True)
    ]
    return ComparisonTable(
        evaluation=suite.node.key,
        suite=suite.label,
        metric=metric,
        lower_is_better=lower_is_better,
        rows=(replace(filled[0], contrast=None), *filled[1:]),
    )


def _scores(
    evidence: SuiteEvidence | None, metric: str, min_agreement: float | None, *, lower_is_better: bool
) -> SubjectScores | str:
    """Scores to compare, or the reason why there are none."""
    if evidence is None:
        return MISSING
    if problem := evidence.judge_problem(metric, min_agreement) or evidence.metric_problem(metric):
        return problem
    if evidence.is_silent:
        return "no model call is recorded, so there is no evidence"
    scores, clusters = evidence.scores(metric), evidence.clusters()
    return judge.unusable(scores) or SubjectScores(scores=scores, clusters=clusters, lower_is_better=lower_is_better)


def _filled(row: ComparisonRow, scores: SubjectScores | str, first: SubjectScores | str) -> ComparisonRow:
    if isinstance(scores, str):
        return replace(row, note=scores)
    contrast = contrasts.contrast(first, scores) if isinstance(first, SubjectScores) else None
    return replace(row, score=contrasts.mean_score(scores), contrast=contrast)


def _adjusted(tables: Iterable[ComparisonTable]) -> tuple[ComparisonTable, ...]:
    """Adjust the differences of all tables as one family."""
    family = tuple(tables)
    adjusted = iter(contrasts.adjust([row.contrast for table in family for row in table.rows if row.contrast]))
    return tuple(
        replace(
            table,
            rows=tuple(replace(row, contrast=next(adjusted)) if row.contrast else row for row in table.rows),
        )
        for table in family
    )
