"""specs -> graph: who leans on whom, and what each is called by content.

What a digest is of stands in `drafts`; here it gets the digests of what is leaned on.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from llmops import drafts, reading
from llmops.drafts import Draft, Made, Opened, deciding
from llmops.problems import LOOKS_LIKE, Invalid, Problem, did_you_mean
from llmops.reading import Kinds, steps_of
from llmops.specs import Parsed
from llmops.values import NOTHING, Files, Key, Known, Need, Node, Ref, Scope


class Graph(Struct, frozen=True):
    """The resources of a commit; in order, every one comes after those it leans on."""

    nodes: Mapping[Key, Node] = {}
    live: tuple[Key, ...] = ()
    """Those of kinds that are released."""
    known: Known = NOTHING
    """The commit that this one was built over, if it was."""
    fresh: frozenset[Key] = frozenset()
    """Those that may be other than in the known commit, or are gone."""
    made: Mapping[Key, Made] = {}
    """Those of them that are there, as they were made."""

    def __getitem__(self, key: Key) -> Node:
        return self.nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def order(self, keys: Iterable[Key]) -> list[Key]:
        """Sort some of the resources: by depth, then by key, whatever the graph was built over."""
        return sorted(keys, key=lambda key: (self.nodes[key].depth, key))

    def closure(self, key: Key) -> Iterator[Key]:
        """Give everything that decides a resource, itself first, nearest first."""
        seen, waiting = {key}, [key]
        while waiting:
            one = waiting.pop(0)
            yield one
            for need in self.nodes[one].needs:
                if need.scope is not Scope.NONE and need.key not in seen:
                    seen.add(need.key)
                    waiting.append(need.key)


EMPTY = Graph()


class Layered(Mapping[Key, Node]):
    """The nodes of a known commit with some that are other, and without some that are gone."""

    def __init__(self, known: Known, made: Mapping[Key, Made], hidden: AbstractSet[Key], kinds: Kinds) -> None:
        self._known, self._made, self._hidden = known, made, hidden
        self._over = Opened(made, kinds)

    def __getitem__(self, key: Key) -> Node:
        if key in self._over:
            return self._over[key]
        if key in self._hidden:
            raise KeyError(key)
        return self._known.nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._over or (key not in self._hidden and key in self._known.nodes)

    def __iter__(self) -> Iterator[Key]:
        below = (rank for rank in self._known.ranks() if rank[1] not in self._hidden and rank[1] not in self._over)
        above = ((made.depth, key) for key, made in self._made.items())
        return (key for _, key in sorted([*below, *above]))

    def __len__(self) -> int:
        replaced = sum(key in self._known.nodes for key in self._over.keys() | self._hidden)
        return len(self._known.nodes) - replaced + len(self._over)


def build(parsed: Parsed, files: Files, kinds: Kinds, known: Known = NOTHING) -> Graph:
    """Order the specs and name each by its closure; over a known commit, only what may be other there.

    Raises `Invalid` with every problem of the commit: those that were found in the files, and unknown references,
    cycles and forbidden uses found here.
    """
    drafted = {
        key: parsed.drafts[key] if key in parsed.drafts else _again(key, known, kinds)
        for key in _affected(parsed, known)
    }
    names = _Names(drafted, parsed, known)
    needs, problems = _resolve(drafted, names, files)
    order, ring = _order(needs)
    if ring:
        _, ring = _order(dict(sorted(needs.items())))  # the same one, whatever order they came in
        problems.append(_ring_problem(ring, needs, drafted, files))
    if parsed.problems or problems:
        raise Invalid((*parsed.problems, *problems))
    made: dict[Key, Made] = {}
    for key in order:
        below = [made[need.key] if need.key in made else known.nodes[need.key] for need in deciding(needs[key])]
        made[key] = drafts.name(drafted[key], needs[key], below)
    nodes = Opened(made, kinds) if known is NOTHING else Layered(known, made, parsed.gone, kinds)
    released = {kind for kind in {key.kind for key in made} if kinds[kind].live}
    live = {key for key in made if key.kind in released} | (set(known.live()) - made.keys() - parsed.gone)
    graph = Graph(nodes, (), known, frozenset(made) | parsed.gone, made)
    graph = replace(graph, live=tuple(graph.order(live)))
    problems += [*_review(graph, order, files, kinds), *_forbidden(graph, order, files, kinds)]
    if problems:
        raise Invalid(problems)
    return graph


def _again(key: Key, known: Known, kinds: Kinds) -> Draft:
    """Draft a resource of which nothing is other but what it leans on."""
    node = known.nodes[key]
    return drafts.draft(node.spec, node.files, kinds[key.kind])


def _affected(parsed: Parsed, known: Known) -> list[Key]:
    """Give every resource that may be other than in the known commit: what was read, and all that leans on it.

    In the order in which it was read: what lies side by side in memory is met so, a quarter faster than in any order.
    """
    if known is NOTHING:
        return list(parsed.drafts)
    new = {key for key in parsed.drafts if key not in known.nodes}
    called = (caller for key in new | parsed.gone for caller in known.callers(key.name))
    found = dict.fromkeys([*parsed.drafts, *parsed.gone, *called])
    waiting = list(found)
    while waiting:
        more = [key for key in known.leaners(waiting.pop()) if key not in found]
        found.update(dict.fromkeys(more))
        waiting += more
    return [key for key in found if key not in parsed.gone]


class _Names(Struct, frozen=True):
    """What can be referred to."""

    drafts: Mapping[Key, Draft]
    parsed: Parsed
    known: Known

    def __contains__(self, key: object) -> bool:
        return key in self.drafts or (key not in self.parsed.gone and key in self.known.nodes)

    def __iter__(self) -> Iterator[Key]:
        yield from self.drafts
        hidden = self.parsed.gone | self.drafts.keys()
        yield from (key for _, key in self.known.ranks() if key not in hidden)


def _resolve(
    drafted: Mapping[Key, Draft], names: _Names, files: Files
) -> tuple[dict[Key, tuple[Need, ...]], list[Problem]]:
    needs: dict[Key, tuple[Need, ...]] = {}
    problems: list[Problem] = []
    for key, draft in drafted.items():
        found: list[Need] = []
        for ref in draft.refs:
            target = _look_up(ref, names)
            if isinstance(target, Key):
                found.append(Need(ref.role, target, ref.scope))
            elif target:
                problems.append(reading.place(draft, files).problem(steps_of(ref.role), *target))
        needs[key] = tuple(found)
    return needs, problems


def _look_up(ref: Ref, known: _Names) -> Key | tuple[str, str] | None:
    """Give the key that a reference means, what is wrong with it, or None when its target is a problem already.

    Where not even all keys can be read, a name is unknown only when it looks like one that is known.
    """
    asked = Key.parse(ref.name)
    if asked.kind and asked.kind not in ref.kinds:
        return f"{asked} is not a {' or '.join(ref.kinds)}.", f"Name a {' or '.join(ref.kinds)}."
    kinds = (asked.kind,) if asked.kind else ref.kinds
    found = [key for key in (Key(kind, asked.name) for kind in kinds) if key in known]
    if len(found) == 1:
        return found[0]
    meant = " or ".join(ref.kinds)
    if found:
        return f"{asked.name} is {' and '.join(map(str, found))}.", f"Write which: {found[0]}."
    if any(Key(kind, asked.name) in known.parsed.broken for kind in kinds):
        return None
    meaning = did_you_mean(asked.name, [key.name for key in known if key.kind in kinds])
    if known.parsed.is_partial and not meaning.startswith(LOOKS_LIKE):
        return None
    return f'no {meant} is called "{asked.name}".', meaning or f"Declare a {meant}."


def _order(needs: Mapping[Key, Iterable[Need]]) -> tuple[list[Key], list[Key]]:
    """Sort so that what is leaned on comes first, or give one ring of keys that has no such order.

    What decides nothing may close a ring: a Deployment requires an Evaluation of that very Deployment.

    Depth first. `graphlib` takes three times as long for 100,000, and 35 MiB.
    """
    order: dict[Key, None] = {}
    for start in needs:
        path = {start: None} if start not in order else {}
        while path:
            key = next(reversed(path))
            ahead = (need.key for need in needs[key] if need.key in needs and need.scope is not Scope.NONE)
            below = next((other for other in ahead if other not in order), None)
            if below is None:
                order[path.popitem()[0]] = None
            elif below in path:
                ring = list(path)
                return [], [*ring[ring.index(below) :], below]
            else:
                path[below] = None
    return list(order), []


def _ring_problem(
    ring: list[Key], needs: Mapping[Key, Iterable[Need]], drafted: Mapping[Key, Draft], files: Files
) -> Problem:
    start = ring.index(min(ring))
    turned = [*ring[start:-1], *ring[: start + 1]]
    words = " -> ".join(map(str, turned))
    role = next(need.role for need in needs[turned[0]] if need.key == turned[1])
    return reading.place(drafted[turned[0]], files).problem(
        steps_of(role), f"these lean on one another: {words}.", "Remove one reference."
    )


def _review(graph: Graph, fresh: Iterable[Key], files: Files, kinds: Kinds) -> Iterator[Problem]:
    reviews = {name: kinds[name].review for name in {key.kind for key in graph.made}}
    for key in fresh:
        review = reviews[key.kind]
        if review is None or not any(need.key.kind in kinds[key.kind].beside for need in graph.made[key].needs):
            continue
        for one in review(graph[key], graph.nodes):
            yield reading.place(graph.made[key], files).problem(steps_of(one.role), one.what, one.remedy)


def _forbidden(graph: Graph, fresh: Iterable[Key], files: Files, kinds: Kinds) -> Iterator[Problem]:
    """Say which resources may not be leaned on, each with the list of those that do."""
    leaners: dict[tuple[Key, str], list[Key]] = {}
    for name in fresh:
        direct = [need.key for need in graph.made[name].needs]
        live = bool(direct) and kinds[name.kind].live
        for key in dict.fromkeys([*direct, *graph.closure(name)] if live else direct):
            permits = kinds[key.kind].permits if key != name else None
            if permits and (reason := permits(graph[key].spec.body, live)):
                leaners.setdefault((key, reason), []).append(name)
    for (key, reason), found in leaners.items():
        names = " and ".join(map(str, sorted(found)))
        verb = "lean" if len(found) > 1 else "leans"
        spec = graph[key].spec
        yield reading.place(spec, files).problem(
            ("spec", "stage"), f"{key} {reason}, and {names} still {verb} on it.", "Change those first."
        )
