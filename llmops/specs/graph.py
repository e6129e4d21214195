"""specs -> graph: who leans on whom, and what each is called by content.

What each is called is found in `naming`, as they come; here they are held against those they lean on, and what is wrong
with them is put into words.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import LOOKS_LIKE, FieldProblem, Invalid, Problem, did_you_mean
from llmops.domain.resources import NOTHING_KNOWN, Files, Key, KnownCommit, Need, Node, Ref, Scope
from llmops.specs import closures, parsing
from llmops.specs.closures import Draft, ResolvedNodes, ResolvedSpec, in_digest
from llmops.specs.digesting import Resolver, targets
from llmops.specs.loading import ParsedCommit
from llmops.specs.parsing import Kinds, steps_of


class Graph(Struct, frozen=True):
    """The resources of a commit; in order, every one comes after those it leans on."""

    nodes: Mapping[Key, Node] = {}
    live: tuple[Key, ...] = ()
    """Those of kinds that are released."""
    known: KnownCommit = NOTHING_KNOWN
    """The commit that this one was built over, if it was."""
    fresh: frozenset[Key] = frozenset()
    """Those that may be other than in the known commit, or are gone."""
    made: Mapping[Key, ResolvedSpec] = {}
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
NONE: frozenset[Key] = frozenset()


class LayeredNodes(Mapping[Key, Node]):
    """The nodes of a known commit with some that are other, and without some that are gone."""

    def __init__(
        self, known: KnownCommit, made: Mapping[Key, ResolvedSpec], hidden: AbstractSet[Key], kinds: Kinds
    ) -> None:
        self._known, self._made, self._hidden = known, made, hidden
        self._over = ResolvedNodes(made, kinds)

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


def build(parsed: ParsedCommit, files: Files, kinds: Kinds, known: KnownCommit = NOTHING_KNOWN) -> Graph:
    """Name each spec by its closure; over a known commit, only what may be other there.

    Raises `Invalid` with every problem of the commit: those that were found in the files, and unknown references,
    cycles and forbidden uses found here.
    """
    affected = _affected(parsed, known)
    building = GraphBuilder(kinds, known, affected, parsed.gone)
    for key in sorted(affected - parsed.drafts.keys()):
        building.add(_again(key, known, kinds))
    return building.finish(parsed, files)


class GraphBuilder:
    """A graph whose drafts come one after another, in any order: each is named and reviewed as soon as it can be."""

    def __init__(
        self,
        kinds: Kinds,
        known: KnownCommit = NOTHING_KNOWN,
        other: AbstractSet[Key] = NONE,
        gone: AbstractSet[Key] = NONE,
    ) -> None:
        self._kinds, self._known, self._gone = kinds, known, gone
        self._naming = Resolver(known, other | gone)
        made = self._naming.made
        self._nodes = ResolvedNodes(made, kinds) if known is NOTHING_KNOWN else LayeredNodes(known, made, gone, kinds)
        self._unreviewed: list[ResolvedSpec] = []
        self._complaints: list[tuple[ResolvedSpec, FieldProblem]] = []

    def add(self, draft: Draft) -> list[ResolvedSpec]:
        """Take one, and give those that are named now."""
        found = self._naming.add(draft)
        for one in found:
            self._review(one)
        return found

    def _review(self, one: ResolvedSpec) -> None:
        kind, named = self._kinds[one.key.kind], self._naming.named
        beside = [need.key for need in one.needs if need.key.kind in kind.beside]
        if not all(key in named for key in beside):
            self._unreviewed.append(one)  # what decides nothing may come later
        elif beside and kind.review:
            self._complaints += ((one, found) for found in kind.review(self._nodes[one.key], self._nodes))

    def finish(self, parsed: ParsedCommit, files: Files) -> Graph:
        """Take those of a commit that did not come yet, and give its graph. Raises `Invalid`, as `build`."""
        for draft in parsed.drafts.values():
            if draft.key not in self._naming.drafts:
                self.add(draft)
        if parsed.problems or not self._naming.is_settled():
            raise Invalid((*parsed.problems, *_unsettled(_Names(self._naming.drafts, parsed, self._known), files)))
        made, kinds = self._naming.made, self._kinds
        released = {kind for kind in {key.kind for key in made} if kinds[kind].live}
        live = {key for key in made if key.kind in released} | (set(self._known.live()) - made.keys() - self._gone)
        graph = Graph(self._nodes, (), self._known, frozenset(made) | self._gone, made)
        graph = replace(graph, live=tuple(graph.order(live)))
        for one in self._unreviewed:
            self._review(one)
        problems = [
            parsing.location(one, files).problem(steps_of(found.role), found.what, found.remedy)
            for one, found in self._complaints
        ]
        problems += _forbidden(graph, files, kinds)
        if problems:
            raise Invalid(problems)
        return graph


def _again(key: Key, known: KnownCommit, kinds: Kinds) -> Draft:
    """Draft a resource of which nothing is other but what it leans on."""
    node = known.nodes[key]
    return closures.draft(node.spec, node.files, kinds[key.kind])


def _affected(parsed: ParsedCommit, known: KnownCommit) -> AbstractSet[Key]:
    """Give every resource that may be other than in the known commit: what was read, and all that leans on it."""
    new = {key for key in parsed.drafts if key not in known.nodes}
    called = (caller for key in new | parsed.gone for caller in known.referrers(key.name))
    found = {*parsed.drafts, *parsed.gone, *called}
    waiting = list(found)
    while waiting:
        more = {key for key in known.dependents(waiting.pop()) if key not in found}
        found |= more
        waiting += more
    return found - parsed.gone


class _Names(Struct, frozen=True):
    """What can be referred to."""

    drafts: Mapping[Key, Draft]
    parsed: ParsedCommit
    known: KnownCommit

    def __contains__(self, key: object) -> bool:
        return key in self.drafts or (key not in self.parsed.gone and key in self.known.nodes)

    def __iter__(self) -> Iterator[Key]:
        yield from self.drafts
        hidden = self.parsed.gone | self.drafts.keys()
        yield from (key for _, key in self.known.ranks() if key not in hidden)


def _unsettled(names: _Names, files: Files) -> list[Problem]:
    """Say why resources cannot be named: what they refer to is not there, is not one thing, or leans on them."""
    needs: dict[Key, tuple[Need, ...]] = {}
    problems: list[Problem] = []
    for key, draft in names.drafts.items():
        found: list[Need] = []
        for ref in draft.refs:
            target = _look_up(ref, names)
            if isinstance(target, Key):
                found.append(Need(ref.role, target, ref.scope))
            elif target:
                problems.append(parsing.location(draft, files).problem(steps_of(ref.role), *target))
        needs[key] = tuple(found)
    if ring := _ring(dict(sorted(needs.items()))):  # the same one, whatever order they came in
        problems.append(_ring_problem(ring, needs, names.drafts, files))
    return problems


def _look_up(ref: Ref, known: _Names) -> Key | tuple[str, str] | None:
    """Give the key that a reference means, what is wrong with it, or None when its target is a problem already.

    Where not even all keys can be read, a name is unknown only when it looks like one that is known.
    """
    asked = Key.parse(ref.name)
    if asked.kind and asked.kind not in ref.kinds:
        return f"{asked} is not a {' or '.join(ref.kinds)}.", f"Name a {' or '.join(ref.kinds)}."
    found, kinds = targets(ref, known), (asked.kind,) if asked.kind else ref.kinds
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(ref.kinds)
    if found:
        return f"{asked.name} is {' and '.join(map(str, found))}.", f"Write which: {found[0]}."
    if any(Key(kind, asked.name) in known.parsed.broken for kind in kinds):
        return None
    meaning = did_you_mean(asked.name, [key.name for key in known if key.kind in kinds])
    if known.parsed.is_partial and not meaning.startswith(LOOKS_LIKE):
        return None
    return f'no {wanted} is called "{asked.name}".', meaning or f"Declare a {wanted}."


def _ring(needs: Mapping[Key, Sequence[Need]]) -> list[Key]:
    """Give one ring of keys that lean on one another, the first also as the last; nothing when there is none.

    What decides nothing may close a ring: a Deployment requires an Evaluation of that very Deployment.
    """
    done: set[Key] = set()
    for start in needs:
        path = {start: None} if start not in done else {}
        while path:
            key = next(reversed(path))
            ahead = (need.key for need in in_digest(needs[key]) if need.key in needs)
            below = next((other for other in ahead if other not in done), None)
            if below is None:
                done.add(path.popitem()[0])
            elif below in path:
                ring = list(path)
                return [*ring[ring.index(below) :], below]
            else:
                path[below] = None
    return []


def _ring_problem(
    ring: list[Key], needs: Mapping[Key, Iterable[Need]], drafted: Mapping[Key, Draft], files: Files
) -> Problem:
    start = ring.index(min(ring))
    turned = [*ring[start:-1], *ring[: start + 1]]
    words = " -> ".join(map(str, turned))
    role = next(need.role for need in needs[turned[0]] if need.key == turned[1])
    return parsing.location(drafted[turned[0]], files).problem(
        steps_of(role), f"these lean on one another: {words}.", "Remove one reference."
    )


def _forbidden(graph: Graph, files: Files, kinds: Kinds) -> Iterator[Problem]:
    """Say which resources may not be leaned on, each with the list of those that do."""
    dependents: dict[tuple[Key, str], list[Key]] = {}
    for name, made in graph.made.items():
        direct = [need.key for need in made.needs]
        live = bool(direct) and kinds[name.kind].live
        for key in dict.fromkeys([*direct, *graph.closure(name)] if live else direct):
            permits = kinds[key.kind].permits if key != name else None
            if permits and (reason := permits(graph[key].spec.body, live)):
                dependents.setdefault((key, reason), []).append(name)
    for (key, reason), found in dependents.items():
        names = " and ".join(map(str, sorted(found)))
        verb = "lean" if len(found) > 1 else "leans"
        spec = graph[key].spec
        yield parsing.location(spec, files).problem(
            ("spec", "stage"), f"{key} {reason}, and {names} still {verb} on it.", "Change those first."
        )
