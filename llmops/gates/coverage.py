"""Finds what the evaluations of a change do not measure: changed live resources, and gates that it weakens.

The base decides: its requirements and gates were reviewed, those of the change were not.

Pure.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import asdict

from llmops.domain.resources import Key, Node, Scope
from llmops.gates import pairing
from llmops.gates.pairing import GateCriteria
from llmops.index.commits import Desired
from llmops.kinds.evaluation.kind import KIND
from llmops.specs.graph import Graph

STRICTER_IF_LOWER = ("detect", "margin")
"""Fields of a gate: a lower value lets less pass."""
STRICTER_IF_HIGHER = ("alpha", "power")
"""Fields of a gate: a higher value lets less pass."""
LENIENCE = ("fail", "extend", "neutral")
"""Values of `on_inconclusive`, the strictest first."""


class Unmeasured(Struct, frozen=True, kw_only=True):
    """A changed live resource that no evaluation of the base covers."""

    key: Key
    why: str
    remedy: str
    required: bool
    """Whether the base requires an evaluation for it: then this is never a pass."""


def unmeasured(head: Graph, base: Graph) -> Iterator[Unmeasured]:
    """Find the live resources whose digest changes, and whose required evaluations do not ask what will serve.

    The requirements are those of base; of a new resource, its own.
    """
    for key in head.live:
        old, new = base.nodes.get(key), head[key]
        if old is not None and old.digest == new.digest:
            continue
        required = _required(old or new)
        if not required:
            why = "no evaluation is required for it" + ("" if old is None else " in the base")
            yield Unmeasured(key=key, why=why, remedy=f"Add `requires` to {key}.", required=False)
        elif not any(_covers(head[name], new, old) for name in required if name in head):
            names = ", ".join(map(str, required))
            yield Unmeasured(
                key=key,
                why=f"{names} does not ask what will serve",
                remedy=f"Evaluate it with `subject: {{deployment: {key.name}}}`, or with its model and its prompt.",
                required=True,
            )


def _covers(evaluation: Node, live: Node, before: Node | None) -> bool:
    """Whether an evaluation asks what will serve.

    Its subject is the live resource itself; or it has the same model and prompt, and nothing else changes.
    """
    subject = {need.at.removeprefix("subject."): need.key for need in evaluation.needs if need.field == "subject"}
    if live.key in subject.values():
        return True
    served = {need.field: need.key for need in live.needs if need.scope is not Scope.NONE and not need.is_gate}
    return subject == served and (before is None or _options(before) == _options(live))


def _options(node: Node) -> set[tuple[str, object]]:
    """What else decides how a resource serves: its engine with its options."""
    return {(fact.at, fact.value) for fact in node.spec.facts if fact.scope is not Scope.NONE}


def weakened(head: Desired, base: Desired) -> Iterator[str]:
    """Describe what a change takes away from the checks of the base. Each needs an approval."""
    yield from (f"{suite.node.key} {suite.label} is removed" for suite in pairing.lost(head.graph, base.graph))
    evaluations = [key for key in head.graph.nodes if key.kind == KIND.name]
    for suite, baseline in pairing.pairs(evaluations, head.graph, base.graph):
        if baseline is not None and is_weaker(suite.criteria, baseline.criteria):
            yield f"the gate of {suite.node.key} {suite.label} is not as strict as before"
    for key in base.graph.live:
        kept = _required(head.graph[key]) if key in head.graph else []  # renaming it must not drop its requirements
        yield from (
            f"{key} does not require {name} any more" for name in _required(base.graph[key]) if name not in kept
        )
    yield from (
        f"the folder {folder} holds no specs any more"
        for folder in base.settings.specs
        if folder not in head.settings.specs
    )
    if head.settings.gate != base.settings.gate:
        yield "`gate` of llmops.yaml is changed"
    if head.settings.trust != base.settings.trust:
        yield f"`trust` of llmops.yaml is changed from {base.settings.trust} to {head.settings.trust}"


def _required(node: Node) -> list[Key]:
    return [need.key for need in node.needs if need.is_gate]


def is_weaker(new: GateCriteria, old: GateCriteria) -> bool:
    """Whether a gate may let something pass that the old one stops. What cannot be compared counts as weaker."""
    before, now = asdict(old.gate), asdict(new.gate)
    if LENIENCE.index(now.pop("on_inconclusive")) > LENIENCE.index(before.pop("on_inconclusive")):
        return True
    if any((now.pop(name) or 0.0) > (before.pop(name) or 0.0) for name in STRICTER_IF_LOWER):
        return True
    if any(now.pop(name) < before.pop(name) for name in STRICTER_IF_HIGHER):
        return True
    return (now, new.metric) != (before, old.metric) or (new.min_agreement or 0.0) < (old.min_agreement or 0.0)
