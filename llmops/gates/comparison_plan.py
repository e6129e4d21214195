"""Resolves the request of a comparison to its subjects and suites.

A subject is the name of a Model, a Training or a Prompt, or both as ``model+prompt``. What it leaves open stays as in
the Evaluation; ``model+`` is the model without a prompt. A Deployment is a subject by itself.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import Misused, did_you_mean
from llmops.domain.resources import Key, Node
from llmops.kinds.evaluation.kind import KIND
from llmops.kinds.evaluation.spec import Evaluation, Subject, Suite
from llmops.specs.graph import Graph

FIELDS = {"Model": "model", "Training": "model", "Prompt": "prompt", "Deployment": "deployment"}
"""Field of an Evaluation's subject by the kind that it refers to."""
JOINT = "+"
NOTHING = "This commit has none: commit one, or name another commit with --head."


class ComparisonRequest(Struct, frozen=True, kw_only=True):
    subjects: tuple[str, ...]
    suites: tuple[str, ...] = ()
    """Labels; ``evaluation/label`` where two Evaluations share one."""
    evaluations: tuple[str, ...] = ()
    """Evaluations of which all suites are compared."""
    model: str = ""
    """Model for the subjects that are only a prompt."""


class SubjectEntry(Struct, frozen=True):
    """One subject, and the Evaluations restated with it as their subject and only the chosen suites."""

    name: str
    bodies: Mapping[Key, Evaluation]
    others: frozenset[Key]
    """Evaluations whose own subject is another one."""


def make(request: ComparisonRequest, graph: Graph) -> tuple[SubjectEntry, ...]:
    """Resolve a request; all subjects are compared with the first. Raises `Misused` with all errors in it."""
    errors: list[str] = []
    chosen = _chosen_suites(request, graph, errors)
    model = _resolve(request.model, graph, ("Model", "Training"), errors) if request.model else None
    subjects = [(name, _subject_fields(name, model, graph, errors)) for name in request.subjects]
    if len(subjects) < 2:  # noqa: PLR2004  the first is what the others are compared with
        errors.append("a comparison needs at least two subjects. Name another one.")
    entries: tuple[SubjectEntry, ...] = ()
    if not errors:
        entries = tuple(_entry(name, fields, chosen, graph) for name, fields in subjects)
        errors += _duplicates(entries)
    if errors:
        raise Misused("\n".join(dict.fromkeys(errors)))
    return entries


def _chosen_suites(request: ComparisonRequest, graph: Graph, errors: list[str]) -> dict[Key, tuple[str, ...]]:
    """Labels of the chosen suites by Evaluation, in the order of the Evaluation."""
    evaluations = [key for key in graph.nodes if key.kind == KIND.name]
    labels = {key: tuple(suite.label for suite in graph[key].spec.body.suites) for key in evaluations}
    if not request.suites and not request.evaluations:
        remedy = (
            "Name one with --suite, or all of an Evaluation with --evaluation." if any(labels.values()) else NOTHING
        )
        errors.append(f"no suite was named. {remedy}")
    whole = [_resolve(name, graph, (KIND.name,), errors) for name in request.evaluations]
    wanted = {(key, label) for key in whole if key is not None for label in labels[key]}
    wanted |= {suite for name in request.suites if (suite := _resolve_suite(name, labels, errors)) is not None}
    chosen = {key: tuple(label for label in labels[key] if (key, label) in wanted) for key in labels}
    return {key: suites for key, suites in chosen.items() if suites}


def _resolve_suite(name: str, labels: Mapping[Key, tuple[str, ...]], errors: list[str]) -> tuple[Key, str] | None:
    wanted = name.removeprefix(f"{KIND.name}/")
    matches = [(key, label) for key, own in labels.items() for label in own if wanted in (label, f"{key.name}/{label}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = " or ".join(f"{key.name}/{label}" for key, label in matches)
        errors.append(f'"{name}" names several suites. Write {names}.')
        return None
    existing = [label for own in labels.values() for label in own]
    errors.append(f'no suite is called "{name}". {_suggestion(name, existing)}'.rstrip())
    return None


def _suggestion(name: str, existing: Collection[str]) -> str:
    return did_you_mean(name, existing) if existing else NOTHING


def _resolve(name: str, graph: Graph, kinds: tuple[str, ...], errors: list[str]) -> Key | None:
    """Resolve ``name`` or ``Kind/name`` to a resource of one of some kinds."""
    asked = Key.parse(name)
    candidates = [Key(kind, asked.name) for kind in kinds if asked.kind in ("", kind)]
    matches = [key for key in candidates if key in graph]
    if len(matches) == 1:
        return matches[0]
    expected = " or ".join(kinds)
    if matches:
        errors.append(f'"{name}" names several resources. Write {" or ".join(map(str, matches))}.')
    elif asked.kind and asked.kind not in kinds:
        errors.append(f"{name} is not a {expected}. Name a {expected}.")
    else:
        existing = [key.name for key in graph.nodes if key.kind in (candidates[0].kind if asked.kind else kinds)]
        errors.append(f'no {expected} is called "{asked.name}". {_suggestion(asked.name, existing)}'.rstrip())
    return None


def _subject_fields(name: str, model: Key | None, graph: Graph, errors: list[str]) -> dict[str, str | None]:
    """Fields of an Evaluation's subject that a name sets."""
    first, joint, second = name.partition(JOINT)
    key = _resolve(first, graph, ("Model", "Training") if joint else tuple(FIELDS), errors)
    fields: dict[str, str | None] = {FIELDS[key.kind]: str(key)} if key else {}
    if joint:
        prompt = _resolve(second, graph, ("Prompt",), errors) if second else None
        fields["prompt"] = str(prompt) if prompt else None
    if "deployment" in fields:
        return {"model": None, "prompt": None} | fields
    if model and "model" not in fields:
        fields["model"] = str(model)
    return fields | {"deployment": None} if "model" in fields else fields


def _entry(
    name: str, fields: Mapping[str, str | None], chosen: Mapping[Key, tuple[str, ...]], graph: Graph
) -> SubjectEntry:
    bodies, others = {}, set()
    for key, labels in chosen.items():
        body: Evaluation = graph[key].spec.body
        own = _qualified(body.subject, graph[key])
        subject = replace(own, **fields)
        if subject.deployment is not None and subject.prompt is not None:
            what = f"the subject of {key} is {subject.deployment}, so there is no model for {name}."
            raise Misused(f"{what} Write model+{name}, or add --model.")
        suites = tuple(_not_sequential(suite) for suite in body.suites if suite.label in labels)
        bodies[key] = replace(body, subject=subject, suites=suites)
        if subject != own:
            others.add(key)
    return SubjectEntry(name, bodies, frozenset(others))


def _not_sequential(suite: Suite) -> Suite:
    """Ask all items: fixed-sample tests are not valid where the number of items depends on the scores."""
    if not suite.sequential:
        return suite
    gate = replace(suite.gate, max_items=None, max_minutes=None, max_cost=None)
    return replace(suite, sequential=False, gate=gate)


def _qualified(subject: Subject, node: Node) -> Subject:
    """Write every reference of a subject as ``Kind/name``, so that equal subjects compare equal."""
    keys = {need.at.partition(".")[2]: str(need.key) for need in node.needs if need.at.startswith("subject.")}
    return replace(subject, **keys)


def _duplicates(entries: tuple[SubjectEntry, ...]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        if same := next((other for other in entries[:number] if other.bodies == entry.bodies), None):
            yield f"{same.name} and {entry.name} are the same subject. Name each once."
