"""Compares two graphs: lists the changed resources with the reasons.

Pure.
"""

from collections.abc import Iterator

from msgspec import Struct

from llmops.domain.plans import Change, Sign
from llmops.domain.resources import NOTHING_KNOWN, Key, Node, Scope
from llmops.specs.graph import Graph

MOST_REASONS = 5
"""Most listed differences of one resource; the rest are counted."""


def compare(old: Graph, new: Graph) -> tuple[Change, ...]:
    """List the changes from ``old`` to ``new``: additions and edits in order of dependencies, then removals."""
    both = old.known is new.known and new.known is not NOTHING_KNOWN  # the rest is the same in both
    keys = old.fresh | new.fresh if both else old.nodes.keys() | new.nodes.keys()
    kept = [change for key in new.order(key for key in keys if key in new) if (change := _change(key, old, new))]
    gone = reversed(old.order(key for key in keys if key in old and key not in new))
    return (*kept, *(Change(Sign.DROP, key, old[key].digest, None) for key in gone))


def _change(key: Key, old: Graph, new: Graph) -> Change | None:
    node = new[key]
    if key not in old:
        return Change(Sign.ADD, key, None, node.digest)
    before = old[key]
    if node.digest == before.digest:
        shown = _few(_differences(before, node, in_digest=False))
        return Change(Sign.KEEP, key, before.digest, node.digest, shown) if shown else None
    own = _few(_differences(before, node, in_digest=True))
    follows = tuple(f"follows {name}" for name in _moved(before, node, old, new))
    sign = Sign.EDIT if own else Sign.FOLLOW
    return Change(sign, key, before.digest, node.digest, own or follows)


def _moved(before: Node, node: Node, old: Graph, new: Graph) -> Iterator[Key]:
    """List dependencies that have the same key as before and another digest."""
    for key in dict.fromkeys(need.key for need in node.needs if need.scope is not Scope.NONE):
        if key in old and old[key].digest != new[key].digest and any(need.key == key for need in before.needs):
            yield key


def _few(lines: Iterator[str]) -> tuple[str, ...]:
    listed = tuple(lines)
    more = len(listed) - MOST_REASONS
    return (*listed[:MOST_REASONS], f"and {more} more") if more > 0 else listed


class _Value(Struct, frozen=True):
    """A value at one place of a spec, and its text for people; '' is not shown."""

    value: object
    text: str


def _differences(before: Node, after: Node, *, in_digest: bool) -> Iterator[str]:
    old, new = _values(before, in_digest=in_digest), _values(after, in_digest=in_digest)
    for role in sorted(old.keys() | new.keys()):
        was, now = old.get(role), new.get(role)
        if (was and was.value) != (now and now.value):
            texts = [value.text if value else "(default)" for value in (was, now)]
            is_shown = any(value and value.text for value in (was, now))
            yield f"{role}: {' -> '.join(texts)}" if is_shown else f"{role} changed"


def _values(node: Node, *, in_digest: bool) -> dict[str, _Value]:
    spec = node.spec
    values = {f.at: _Value((f.value,), _show(f.value)) for f in spec.facts if (f.scope is not Scope.NONE) is in_digest}
    values |= {n.at: _Value(n.key, str(n.key)) for n in node.needs if (n.scope is not Scope.NONE) is in_digest}
    if in_digest:
        paths = {use.at: use.path for use in spec.files}
        values |= {paths.get(f.at, f.at): _Value((f.suffix, f.sha256), "") for f in node.files}
        values |= {p.at: _Value(p.value, p.value[:19]) for p in spec.pins}
    else:
        values |= {f"labels.{name}": _Value(text, text) for name, text in spec.labels.items()}
        values["description"], values["owner"] = _Value(spec.description, ""), _Value(spec.owner, spec.owner)
    return values


def _show(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"  # noqa: PLR2004  one line of a terminal


def why(old: Graph, new: Graph, key: Key) -> tuple[Change, ...]:
    """Follow a resource to the first different input: the chain of changes, the resource itself first."""
    chain: list[Change] = []
    while change := _change(key, old, new):
        chain.append(change)
        if change.sign is not Sign.FOLLOW:
            break
        key = next(_moved(old[key], new[key], old, new))
    return tuple(chain)
