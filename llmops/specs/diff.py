"""graph, graph -> changes: what is not the same, and why.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from llmops.domain.plans import Change, Sign
from llmops.domain.resources import NOTHING_KNOWN, Key, Node, Scope
from llmops.specs.graph import Graph

MOST_REASONS = 5
"""How many differences of one resource are listed; the rest are counted."""


def compare(old: Graph, new: Graph) -> tuple[Change, ...]:
    """List what turns ``old`` into ``new``: first what comes and changes, what is leaned on first; then what goes."""
    both = old.known is new.known and new.known is not NOTHING_KNOWN  # what neither has touched is the same in both
    keys = old.fresh | new.fresh if both else old.nodes.keys() | new.nodes.keys()
    kept = [change for key in new.order(key for key in keys if key in new) if (change := _change(key, old, new))]
    gone = [_drop(old[key]) for key in reversed(old.order(key for key in keys if key in old and key not in new))]
    return (*kept, *gone)


def _drop(node: Node) -> Change:
    return Change(Sign.DROP, node.key, node.digest, None)


def _change(key: Key, old: Graph, new: Graph) -> Change | None:
    node = new[key]
    if key not in old:
        return Change(Sign.ADD, key, None, node.digest)
    before = old[key]
    if node.digest == before.digest:
        shown = _few(_differences(before, node, decides=False))
        return Change(Sign.KEEP, key, before.digest, node.digest, shown) if shown else None
    own = _few(_differences(before, node, decides=True))
    follows = tuple(f"follows {name}" for name in _moved(before, node, old, new))
    sign = Sign.EDIT if own else Sign.FOLLOW
    return Change(sign, key, before.digest, node.digest, own or follows)


def _moved(before: Node, node: Node, old: Graph, new: Graph) -> Iterator[Key]:
    """Give what the resource leans on by the same name, but which is not the same any more."""
    for key in dict.fromkeys(need.key for need in node.needs if need.scope is not Scope.NONE):
        if key in old and old[key].digest != new[key].digest and any(need.key == key for need in before.needs):
            yield key


def _few(lines: Iterator[str]) -> tuple[str, ...]:
    found = tuple(lines)
    more = len(found) - MOST_REASONS
    return (*found[:MOST_REASONS], f"and {more} more") if more > 0 else found


class _Said(Struct, frozen=True):
    """What a spec says in one role, and how to show it."""

    value: object
    words: str


def _differences(before: Node, after: Node, *, decides: bool) -> Iterator[str]:
    """Say what differs between two forms of a resource: of what decides it, or of the rest."""
    old, new = _sayings(before, decides=decides), _sayings(after, decides=decides)
    for role in sorted(old.keys() | new.keys()):
        was, now = old.get(role), new.get(role)
        if (was and was.value) != (now and now.value):
            yield f"{role}: {_words(was)} -> {_words(now)}" if _tells(was, now) else f"{role} changed"


def _words(said: _Said | None) -> str:
    return said.words if said else "(default)"


def _tells(was: _Said | None, now: _Said | None) -> bool:
    return any(said and said.words for said in (was, now))


def _sayings(node: Node, *, decides: bool) -> dict[str, _Said]:
    spec = node.spec
    said = {f.at: _Said((f.value,), _show(f.value)) for f in spec.facts if (f.scope is not Scope.NONE) is decides}
    said |= {n.at: _Said(n.key, str(n.key)) for n in node.needs if (n.scope is not Scope.NONE) is decides}
    if decides:
        paths = {use.at: use.path for use in spec.files}
        said |= {paths.get(f.at, f.at): _Said((f.suffix, f.sha256), "") for f in node.files}
        said |= {p.at: _Said(p.value, p.value[:19]) for p in spec.pins}
    else:
        said |= {f"labels.{name}": _Said(text, text) for name, text in spec.labels.items()}
        said["description"], said["owner"] = _Said(spec.description, ""), _Said(spec.owner, spec.owner)
    return said


def _show(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"  # noqa: PLR2004  one line of a terminal


def why(old: Graph, new: Graph, key: Key) -> tuple[Change, ...]:
    """Follow a resource to the first input that differs: the chain of changes, the resource itself first."""
    chain: list[Change] = []
    while change := _change(key, old, new):
        chain.append(change)
        if change.sign is not Sign.FOLLOW:
            break
        key = next(_moved(old[key], new[key], old, new))
    return tuple(chain)
