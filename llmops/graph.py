"""specs -> graph: who leans on whom, and what each is called by content.

    digest(resource) = sha256(hash version, kind, step version, facts, (role, ending, sha256) of every file,
                              (role, digest) of every resource, (role, value) of every pin)

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from sys import intern
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from llmops import reading
from llmops.plugin import Step
from llmops.problems import Invalid, Problem, did_you_mean
from llmops.reading import Kinds, steps_of
from llmops.specs import Parsed
from llmops.values import (
    HASH_VERSION,
    NOTHING,
    Digest,
    FileDigest,
    Files,
    Key,
    Known,
    Need,
    Node,
    Ref,
    Scope,
    Spec,
    Unit,
    digest,
)


class Graph(Struct, frozen=True):
    """The resources of a commit; in order, every one comes after those it leans on."""

    nodes: Mapping[Key, Node] = {}
    live: tuple[Key, ...] = ()
    """Those of kinds that are released."""
    known: Known = NOTHING
    """The commit that this one was built over, if it was."""
    fresh: frozenset[Key] = frozenset()
    """Those that may be other than in the known commit, or are gone."""

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

    def __init__(self, known: Known, over: Mapping[Key, Node], hidden: AbstractSet[Key]) -> None:
        self._known, self._over, self._hidden = known, over, hidden

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
        above = ((node.depth, key) for key, node in self._over.items())
        return (key for _, key in sorted([*below, *above]))

    def __len__(self) -> int:
        replaced = sum(key in self._known.nodes for key in self._over.keys() | self._hidden)
        return len(self._known.nodes) - replaced + len(self._over)


def build(parsed: Parsed, files: Files, kinds: Kinds, known: Known = NOTHING) -> Graph:
    """Order the specs and name each by its closure; over a known commit, only what may be other there.

    Raises `Invalid` with every problem of the commit: those that were found in the files, and unknown references,
    cycles and forbidden uses found here.
    """
    fresh = _affected(parsed, known)
    specs = {key: parsed.specs[key] if key in parsed.specs else known.nodes[key].spec for key in fresh}
    names = _Names(specs, parsed.broken, parsed.gone, known)
    needs, problems = _resolve(specs, names, files)
    order, ring = _order(needs)
    if ring:
        _, ring = _order(dict(sorted(needs.items())))  # the same one, whatever order they came in
        problems.append(_ring_problem(ring, needs, specs, files))
    over: dict[Key, Node] = {}
    nodes: Mapping[Key, Node] = Layered(known, over, parsed.gone)
    for key in reading.together(order, lambda key: (use.path for use in specs[key].files), files):
        before = None if key in parsed.specs else known.nodes[key]
        over[key] = _name(specs[key], needs[key], nodes, (files, kinds), before)
    live = {key for key in over if kinds[key.kind].live} | (set(known.live()) - over.keys() - parsed.gone)
    if known is NOTHING:
        nodes = dict(sorted(over.items(), key=lambda item: (item[1].depth, item[0])))
    graph = Graph(nodes, (), known, frozenset(over) | parsed.gone)
    graph = replace(graph, live=tuple(graph.order(live)))
    if not parsed.problems and not problems:
        problems += [*_review(graph, over, files, kinds), *_forbidden(graph, over, files, kinds)]
    if parsed.problems or problems:
        raise Invalid((*parsed.problems, *problems))
    return graph


def _affected(parsed: Parsed, known: Known) -> frozenset[Key]:
    """Give every resource that may be other than in the known commit: what was read, and all that leans on it."""
    new = {key for key in parsed.specs if key not in known.nodes}
    called = (caller for key in new | parsed.gone for caller in known.callers(key.name))
    waiting = [*parsed.specs, *parsed.gone, *called]
    found = set(waiting)
    while waiting:
        more = [key for key in known.leaners(waiting.pop()) if key not in found]
        found.update(more)
        waiting += more
    return frozenset(found - parsed.gone)


class _Names(Struct, frozen=True):
    """What can be referred to."""

    specs: Mapping[Key, Spec]
    broken: frozenset[Key]
    gone: frozenset[Key]
    known: Known

    def __contains__(self, key: object) -> bool:
        return key in self.specs or (key not in self.gone and key in self.known.nodes)

    def __iter__(self) -> Iterator[Key]:
        yield from self.specs
        yield from (key for _, key in self.known.ranks() if key not in self.specs and key not in self.gone)


def _resolve(
    specs: Mapping[Key, Spec], names: _Names, files: Files
) -> tuple[dict[Key, tuple[Need, ...]], list[Problem]]:
    needs: dict[Key, tuple[Need, ...]] = {}
    problems: list[Problem] = []
    for key, spec in specs.items():
        found: list[Need] = []
        for ref in spec.refs:
            target = _look_up(ref, names)
            if isinstance(target, Key):
                found.append(Need(ref.role, target, ref.scope))
            elif target:
                problems.append(reading.place(spec, files).problem(steps_of(ref.role), *target))
        needs[key] = tuple(found)
    return needs, problems


def _look_up(ref: Ref, known: _Names) -> Key | tuple[str, str] | None:
    """Give the key that a reference means, what is wrong with it, or None when its target is a problem already."""
    asked = Key.parse(ref.name)
    kinds = (asked.kind,) if asked.kind else ref.kinds
    meant = " or ".join(ref.kinds)
    if not set(kinds) <= set(ref.kinds):
        return f"{asked} is not a {meant}.", f"Name a {meant}."
    found = [key for key in (Key(kind, asked.name) for kind in kinds) if key in known]
    if len(found) == 1:
        return found[0]
    if found:
        return f"{asked.name} is {' and '.join(map(str, found))}.", f"Write which: {found[0]}."
    if any(Key(kind, asked.name) in known.broken for kind in kinds):
        return None
    names = [key.name for key in known if key.kind in kinds]
    return f'no {meant} is called "{asked.name}".', did_you_mean(asked.name, names) or f"Declare a {meant}."


def _order(needs: Mapping[Key, Iterable[Need]]) -> tuple[list[Key], list[Key]]:
    """Sort so that what is leaned on comes first, or give one ring of keys that has no such order.

    Depth first. `graphlib` takes three times as long for 100,000, and 35 MiB.
    """
    order: dict[Key, None] = {}
    for start in needs:
        path = {start: None} if start not in order else {}
        while path:
            key = next(reversed(path))
            below = next((need.key for need in needs[key] if need.key in needs and need.key not in order), None)
            if below is None:
                order[path.popitem()[0]] = None
            elif below in path:
                ring = list(path)
                return [], [*ring[ring.index(below) :], below]
            else:
                path[below] = None
    return list(order), []


def _ring_problem(
    ring: list[Key], needs: Mapping[Key, Iterable[Need]], specs: Mapping[Key, Spec], files: Files
) -> Problem:
    start = ring.index(min(ring))
    turned = [*ring[start:-1], *ring[: start + 1]]
    words = " -> ".join(map(str, turned))
    role = next(need.role for need in needs[turned[0]] if need.key == turned[1])
    return reading.place(specs[turned[0]], files).problem(
        steps_of(role), f"these lean on one another: {words}.", "Remove one reference."
    )


def _name(
    spec: Spec, needs: tuple[Need, ...], nodes: Mapping[Key, Node], at: tuple[Files, Kinds], before: Node | None
) -> Node:
    """Name a resource; ``before`` is what it was, when nothing of its own is other."""
    files, kinds = at
    step = kinds[spec.key.kind].step
    used = before.files if before else tuple(_file_digests(spec, files))
    closure = _Closure(spec, needs, used, nodes, step.version if step else 0)
    own = closure.digest((Scope.BUILD, Scope.LIVE))
    units: tuple[Unit, ...] = ()
    if step and step.parts:
        units = tuple(_parts(spec, step, closure))
    elif step:
        is_live = Scope.LIVE in {*(fact.scope for fact in spec.facts), *(need.scope for need in needs)}
        units = (Unit(closure.digest((Scope.BUILD,)) if is_live else own),)
    depth = max((nodes[need.key].depth + 1 for need in needs), default=0)
    return Node(spec=spec, digest=own, needs=needs, files=closure.files, units=units, depth=depth)


def _parts(spec: Spec, step: Step, closure: _Closure) -> Iterator[Unit]:
    """Name the items of a list field, for us and for people: suites[0], choice; and each trial of one after it.

    The first trial has the name that the item has without others, so that one more costs one more.
    """
    for index, item in enumerate(getattr(spec.body, step.parts)):
        part = f"{step.parts}[{index}]"
        label = getattr(item, "label", part)
        first = closure.digest((Scope.BUILD,), part)
        yield Unit(first, part, label)
        for trial in range(1, getattr(item, step.trials, 1) if step.trials else 1):
            yield Unit(digest([first, trial]), part, f"{label}, trial {trial + 1}", trial)


def _file_digests(spec: Spec, files: Files) -> Iterator[FileDigest]:
    for use in spec.files:
        if use.scope is Scope.NONE:
            continue
        inside = (use.path,) if use.path in files else files.names(use.path)
        for path in inside:
            beneath = path[len(use.path) :]
            _, dot, ending = path.rpartition("/")[2].rpartition(".")
            if path in files:
                yield FileDigest(use.role + beneath, intern(ending) if dot else "", files.sha256(path))


Said: TypeAlias = tuple[str, object]
"""What a closure holds in one role."""


class _Closure(Struct, frozen=True):
    """Everything that decides one resource."""

    spec: Spec
    needs: tuple[Need, ...]
    files: tuple[FileDigest, ...]
    nodes: Mapping[Key, Node]
    version: int

    def digest(self, scopes: tuple[Scope, ...], part: str = "") -> Digest:
        """Name what these scopes decide; with a part, as if it were the only one of its list."""
        facts: list[Said] = [(f.role, f.value) for f in self.spec.facts if f.scope in scopes]
        needs: list[Said] = [(n.role, self.nodes[n.key].digest) for n in self.needs if n.scope in scopes]
        files: list[Said] = [(f.role, (f.suffix, f.sha256)) for f in self.files]
        pins: list[Said] = [(p.role, p.value) for p in self.spec.pins]
        lists = [facts, files, needs, pins]
        if part:
            lists = [list(_only(part, pairs)) for pairs in lists]
        for pairs in lists:
            if len(pairs) > 1:
                pairs.sort(key=str)
        return digest([HASH_VERSION, self.spec.key.kind, self.version, *lists])


def _only(part: str, pairs: list[Said]) -> Iterator[Said]:
    """Drop what belongs to the other items of the list; the place in the list is not part of the name."""
    field = part.partition("[")[0]
    for role, value in pairs:
        if not role.startswith(f"{field}["):
            yield role, value
        elif role.startswith(part):
            yield f"{field}[]{role[len(part) :]}", value


def _review(graph: Graph, fresh: Iterable[Key], files: Files, kinds: Kinds) -> Iterator[Problem]:
    for key in fresh:
        for one in kinds[key.kind].review(graph[key], graph.nodes):
            yield reading.place(graph[key].spec, files).problem(steps_of(one.role), one.what, one.remedy)


def _forbidden(graph: Graph, fresh: Iterable[Key], files: Files, kinds: Kinds) -> Iterator[Problem]:
    """Say which resources may not be leaned on, each with the list of those that do."""
    leaners: dict[tuple[Key, str], list[Key]] = {}
    for name in fresh:
        live = kinds[name.kind].live
        direct = [need.key for need in graph[name].needs]
        for key in dict.fromkeys([*direct, *graph.closure(name)] if live else direct):
            reason = kinds[key.kind].permits(graph[key].spec.body, live) if key != name else ""
            if reason:
                leaners.setdefault((key, reason), []).append(name)
    for (key, reason), found in leaners.items():
        names = " and ".join(map(str, sorted(found)))
        verb = "lean" if len(found) > 1 else "leans"
        spec = graph[key].spec
        yield reading.place(spec, files).problem(
            ("spec", "stage"), f"{key} {reason}, and {names} still {verb} on it.", "Change those first."
        )
