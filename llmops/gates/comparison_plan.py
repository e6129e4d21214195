"""words -> a lineup: which subjects are to be compared, and on which suites of which Evaluations.

A subject is called by the name of a Model, a Training or a Prompt, or by both as ``model+prompt``. What it does not say
stays as the Evaluation has it; ``model+`` is the model without a prompt. A Deployment is a whole subject by itself.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import Misused, did_you_mean
from llmops.domain.resources import Key, Node
from llmops.kinds.evaluation.kind import KIND, Evaluation, Subject, Suite
from llmops.specs.graph import Graph

FIELDS = {"Model": "model", "Training": "model", "Prompt": "prompt", "Deployment": "deployment"}
"""What names a subject, and the field of an Evaluation's subject that it stands in."""
JOINT = "+"
NOTHING = "This commit has none: commit one, or name another commit with --head."


class ComparisonRequest(Struct, frozen=True, kw_only=True):
    """What somebody asks to compare."""

    subjects: tuple[str, ...]
    suites: tuple[str, ...] = ()
    """Labels; ``evaluation/label`` where two Evaluations share one."""
    evaluations: tuple[str, ...] = ()
    model: str = ""
    """The model of subjects that name only a prompt."""


class SubjectEntry(Struct, frozen=True):
    """One subject, and the Evaluations as they are when they ask that one, with the chosen suites alone."""

    name: str
    bodies: Mapping[Key, Evaluation]
    others: frozenset[Key]
    """Those that name another subject by themselves."""


class ComparisonPlan(Struct, frozen=True):
    """What is compared."""

    entries: tuple[SubjectEntry, ...]


def make(words: ComparisonRequest, graph: Graph) -> ComparisonPlan:
    """Find what the words mean. Raises `Misused` with everything that is wrong with them."""
    wrong: list[str] = []
    chosen = _chosen(words, graph, wrong)
    model = _found(words.model, graph, ("Model", "Training"), wrong) if words.model else None
    found = [(name, _fields(name, model, graph, wrong)) for name in words.subjects]
    if len(found) < 2:  # noqa: PLR2004  the first is what the others are compared with
        wrong.append("a comparison takes two subjects or more. Name another one.")
    if not wrong:
        entries = tuple(_entry(name, fields, chosen, graph) for name, fields in found)
        wrong += _twice(entries)
    if wrong:
        raise Misused("\n".join(dict.fromkeys(wrong)))
    return ComparisonPlan(entries)


def _chosen(words: ComparisonRequest, graph: Graph, wrong: list[str]) -> dict[Key, tuple[str, ...]]:
    """Give the labels of the chosen suites of each Evaluation, in the Evaluation's order."""
    labels = {key: _labels(key, graph) for key in graph.nodes if key.kind == KIND.name}
    if not words.suites and not words.evaluations:
        remedy = "Say --suite, or --evaluation for all of one." if any(labels.values()) else NOTHING
        wrong.append(f"no suite was named. {remedy}")
    wanted = {(key, one) for key in _evaluations(words.evaluations, graph, wrong) for one in labels[key]}
    wanted |= {found for word in words.suites if (found := _suite(word, labels, wrong)) is not None}
    chosen = {key: tuple(one for one in labels[key] if (key, one) in wanted) for key in labels}
    return {key: found for key, found in chosen.items() if found}


def _labels(key: Key, graph: Graph) -> tuple[str, ...]:
    return tuple(suite.label for suite in graph[key].spec.body.suites)


def _evaluations(names: Iterable[str], graph: Graph, wrong: list[str]) -> Iterator[Key]:
    for name in names:
        if found := _found(name, graph, (KIND.name,), wrong):
            yield found


def _suite(word: str, labels: Mapping[Key, tuple[str, ...]], wrong: list[str]) -> tuple[Key, str] | None:
    asked = word.removeprefix(f"{KIND.name}/")
    found = [(key, one) for key, mine in labels.items() for one in mine if asked in (one, f"{key.name}/{one}")]
    if len(found) == 1:
        return found[0]
    if found:
        names = [f"{key.name}/{one}" for key, one in found]
        wrong.append(f'"{word}" is a suite of {" and ".join(key.name for key, _ in found)}. Say which: {names[0]}.')
        return None
    known = [one for mine in labels.values() for one in mine]
    wrong.append(f'no suite is called "{word}". {_remedy(word, known)}'.rstrip())
    return None


def _remedy(word: str, known: Collection[str]) -> str:
    """Say what may have been meant, or that nothing can be."""
    return did_you_mean(word, known) if known else NOTHING


def _found(name: str, graph: Graph, kinds: tuple[str, ...], wrong: list[str]) -> Key | None:
    """Find a resource of some kinds."""
    asked = Key.parse(name)
    there = [Key(kind, asked.name) for kind in kinds if asked.kind in ("", kind)]
    found = [key for key in there if key in graph]
    if len(found) == 1:
        return found[0]
    meant = " or ".join(kinds)
    if found:
        wrong.append(f'"{name}" is {" and ".join(map(str, found))}. Say which: {found[0]}.')
    elif asked.kind and asked.kind not in kinds:
        wrong.append(f"{name} is not a {meant}. Name a {meant}.")
    else:
        known = [key.name for key in graph.nodes if key.kind in (there[0].kind if asked.kind else kinds)]
        wrong.append(f'no {meant} is called "{asked.name}". {_remedy(asked.name, known)}'.rstrip())
    return None


def _fields(name: str, model: Key | None, graph: Graph, wrong: list[str]) -> dict[str, str | None]:
    """Give the fields of an Evaluation's subject that a name fixes."""
    first, joint, second = name.partition(JOINT)
    key = _found(first, graph, ("Model", "Training") if joint else tuple(FIELDS), wrong)
    fields: dict[str, str | None] = {FIELDS[key.kind]: str(key)} if key else {}
    if joint:
        prompt = _found(second, graph, ("Prompt",), wrong) if second else None
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
        own = _spelled_out(body.subject, graph[key])
        suites = tuple(_whole(suite) for suite in body.suites if suite.label in labels)
        asked = replace(own, **fields)
        if asked.deployment is not None and asked.prompt is not None:
            what = f"{key} asks {asked.deployment}, so it names no model to ask through {name}."
            raise Misused(f"{what} Name one: model+{name}, or --model.")
        bodies[key] = replace(body, subject=asked, suites=suites)
        if bodies[key].subject != own:
            others.add(key)
    return SubjectEntry(name, bodies, frozenset(others))


def _whole(suite: Suite) -> Suite:
    """Let a suite be asked whole: tests of a fixed number of items say nothing of those that stop when it suits."""
    if not suite.sequential:
        return suite
    limits = replace(suite.gate, max_items=None, max_minutes=None, max_cost=None)
    return replace(suite, sequential=False, gate=limits)


def _spelled_out(subject: Subject, node: Node) -> Subject:
    """Write every name in a subject as ``Kind/name``, so that two of the same read alike."""
    meant = {need.at.partition(".")[2]: str(need.key) for need in node.needs if need.at.startswith("subject.")}
    return replace(subject, **meant)


def _twice(entries: Iterable[SubjectEntry]) -> Iterator[str]:
    found = list(entries)
    for number, entry in enumerate(found):
        if same := next((one for one in found[:number] if one.bodies == entry.bodies), None):
            yield f"{same.name} and {entry.name} are the same subject. Name each once."
