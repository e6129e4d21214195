"""Resolves references between specs and computes each resource's digest.

`closures` computes the digests as the drafts arrive; this module reviews each resource together with its dependencies,
and reports problems.

Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import LOOKS_LIKE, FieldProblem, Invalid, Problem, did_you_mean
from llmops.domain.resources import NOTHING_KNOWN, Files, Key, KnownCommit, Need, Node, Ref, Scope, need
from llmops.plugins.registry import Plugins
from llmops.specs import closures, parsing
from llmops.specs.closures import Draft, Kinds, ResolvedNodes, ResolvedSpec, Resolver, in_digest, targets
from llmops.specs.loading import ParsedCommit
from llmops.specs.parsing import steps_of


class Graph(Struct, frozen=True):
    """The resources of a commit, in order of dependencies."""

    nodes: Mapping[Key, Node] = {}
    live: tuple[Key, ...] = ()
    """The resources of live kinds."""
    known: KnownCommit = NOTHING_KNOWN
    """The commit that this one was built over, if any."""
    fresh: frozenset[Key] = frozenset()
    """The resources that may differ from the known commit, or were removed."""
    resolved: Mapping[Key, ResolvedSpec] = {}
    """Those of them that are declared."""

    def __getitem__(self, key: Key) -> Node:
        return self.nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def order(self, keys: Iterable[Key]) -> list[Key]:
        return sorted(keys, key=lambda key: (self.nodes[key].depth, key))

    def closure(self, key: Key) -> Iterator[Key]:
        """List everything that determines a resource, itself first, nearest first."""
        seen, waiting = {key}, [key]
        while waiting:
            current = waiting.pop(0)
            yield current
            for edge in self.nodes[current].needs:
                if edge.scope is not Scope.NONE and edge.key not in seen:
                    seen.add(edge.key)
                    waiting.append(edge.key)


EMPTY = Graph()
NONE: frozenset[Key] = frozenset()


class LayeredNodes(Mapping[Key, Node]):
    """The nodes of a known commit, some of them replaced and some removed."""

    def __init__(
        self, known: KnownCommit, resolved: Mapping[Key, ResolvedSpec], hidden: AbstractSet[Key], kinds: Kinds
    ) -> None:
        self._known, self._resolved, self._hidden = known, resolved, hidden
        self._over = ResolvedNodes(resolved, kinds)

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
        above = ((spec.depth, key) for key, spec in self._resolved.items())
        return (key for _, key in sorted([*below, *above]))

    def __len__(self) -> int:
        replaced = sum(key in self._known.nodes for key in self._over.keys() | self._hidden)
        return len(self._known.nodes) - replaced + len(self._over)


def build(parsed: ParsedCommit, files: Files, plugins: Plugins, known: KnownCommit = NOTHING_KNOWN) -> Graph:
    """Build the graph of a commit; over a known commit, only what may differ from it.

    Raises `Invalid` with every problem of the commit: those of the files, and unknown references, cycles and forbidden
    uses.
    """
    affected = _affected(parsed, known)
    building = GraphBuilder(plugins, known, affected, parsed.gone)
    for key in sorted(affected - parsed.drafts.keys()):
        node = known.nodes[key]
        building.add(closures.draft(node.spec, node.files, plugins.step(key.kind, node.spec.body)))
    return building.finish(parsed, files)


class GraphBuilder:
    """Builds a graph from drafts in any order; each is resolved and reviewed as soon as possible."""

    def __init__(
        self,
        plugins: Plugins,
        known: KnownCommit = NOTHING_KNOWN,
        other: AbstractSet[Key] = NONE,
        gone: AbstractSet[Key] = NONE,
    ) -> None:
        self._plugins, self._known, self._gone = plugins, known, gone
        self._resolver = Resolver(known, other | gone)
        resolved, kinds = self._resolver.resolved, plugins.kinds
        self._nodes = (
            ResolvedNodes(resolved, kinds) if known is NOTHING_KNOWN else LayeredNodes(known, resolved, gone, kinds)
        )
        self._unreviewed: list[ResolvedSpec] = []
        self._problems: list[tuple[ResolvedSpec, FieldProblem]] = []

    def add(self, draft: Draft) -> list[ResolvedSpec]:
        resolved = self._resolver.add(draft)
        for spec in resolved:
            self._review(spec)
        return resolved

    def _review(self, spec: ResolvedSpec) -> None:
        kind = self._plugins.kinds[spec.key.kind]
        if kind.review is None:
            return
        kinds = {name for role in kind.reviewed_roles for name in self._plugins.kinds_for(role)}
        beside = [edge.key for edge in spec.needs if edge.key.kind in kinds]
        if not all(key in self._resolver.named for key in beside):
            self._unreviewed.append(spec)  # dependencies outside the digest may come later
        elif beside:
            problems = kind.review(self._nodes[spec.key], self._nodes, self._plugins)
            self._problems += ((spec, problem) for problem in problems)

    def finish(self, parsed: ParsedCommit, files: Files) -> Graph:
        """Add the remaining drafts of a commit, and return its graph. Raises `Invalid`, as `build`."""
        for draft in parsed.drafts.values():
            if draft.key not in self._resolver.drafts:
                self.add(draft)
        if parsed.problems or not self._resolver.is_settled():
            raise Invalid((*parsed.problems, *_unresolved(self._resolver, parsed, files)))
        graph = self._graph()
        for spec in self._unreviewed:
            self._review(spec)
        problems = [parsing.location(spec, files).place(problem) for spec, problem in self._problems]
        problems += _forbidden(graph, files, self._plugins.kinds)
        if problems:
            raise Invalid(problems)
        return graph

    def _graph(self) -> Graph:
        resolved = self._resolver.resolved
        released = {kind for kind in {key.kind for key in resolved} if self._plugins.kinds[kind].live}
        live = {key for key in resolved if key.kind in released} | (
            set(self._known.live()) - resolved.keys() - self._gone
        )
        graph = Graph(self._nodes, (), self._known, frozenset(resolved) | self._gone, resolved)
        return replace(graph, live=tuple(graph.order(live)))


def _affected(parsed: ParsedCommit, known: KnownCommit) -> AbstractSet[Key]:
    """Find every resource that may differ from the known commit: those that were read, and their dependents."""
    new = {key for key in parsed.drafts if key not in known.nodes}
    referring = (referrer for key in new | parsed.gone for referrer in known.referrers(key.name))
    affected = {*parsed.drafts, *parsed.gone, *referring}
    waiting = list(affected)
    while waiting:
        more = {key for key in known.dependents(waiting.pop()) if key not in affected}
        affected |= more
        waiting += more
    return affected - parsed.gone


def _unresolved(resolver: Resolver, parsed: ParsedCommit, files: Files) -> list[Problem]:
    """Explain why resources have no digest: a reference is unknown or ambiguous, or references form a cycle."""
    needs: dict[Key, tuple[Need, ...]] = {}
    problems: list[Problem] = []
    for key, draft in resolver.drafts.items():
        edges: list[Need] = []
        for ref in draft.refs:
            target = _look_up(ref, resolver.declared, parsed)
            if isinstance(target, Key):
                edges.append(need(ref, target))
            elif target:
                problems.append(parsing.location(draft, files).problem(steps_of(ref.at), *target))
        needs[key] = tuple(edges)
    if cycle := _cycle(dict(sorted(needs.items()))):  # sorted, so that the same cycle is reported every time
        problems.append(_cycle_problem(cycle, needs, resolver.drafts, files))
    return problems


def _look_up(ref: Ref, declared: Collection[Key], parsed: ParsedCommit) -> Key | tuple[str, str] | None:
    """Find the key that a reference means, or its problem and remedy, or None if its target already has a problem.

    If some keys could not be read, a name is unknown only if it resembles a known one.
    """
    asked = Key.parse(ref.name)
    wanted = " or ".join(ref.kinds)
    if asked.kind and asked.kind not in ref.kinds:
        return f"{asked} is not a {wanted}.", f"Name a {wanted}."
    keys, kinds = targets(ref, declared), (asked.kind,) if asked.kind else ref.kinds
    if len(keys) == 1:
        return keys[0]
    if keys:
        return f"{asked.name} is {' and '.join(map(str, keys))}.", f"Write which: {keys[0]}."
    if any(Key(kind, asked.name) in parsed.broken for kind in kinds):
        return None
    hint = did_you_mean(asked.name, [key.name for key in declared if key.kind in kinds])
    if parsed.is_partial and not hint.startswith(LOOKS_LIKE):
        return None
    return f'no {wanted} is called "{asked.name}".', hint or f"Declare a {wanted}."


def _cycle(needs: Mapping[Key, Sequence[Need]]) -> list[Key]:
    """Find one cycle of keys, the first also as the last; empty if there is none.

    References outside the digest may form cycles: a Deployment requires an Evaluation of that very Deployment.
    """
    done: set[Key] = set()
    for start in needs:
        path = {start: None} if start not in done else {}
        while path:
            key = next(reversed(path))
            ahead = (edge.key for edge in in_digest(needs[key]) if edge.key in needs)
            below = next((other for other in ahead if other not in done), None)
            if below is None:
                done.add(path.popitem()[0])
            elif below in path:
                cycle = list(path)
                return [*cycle[cycle.index(below) :], below]
            else:
                path[below] = None
    return []


def _cycle_problem(
    cycle: list[Key], needs: Mapping[Key, Iterable[Need]], drafts: Mapping[Key, Draft], files: Files
) -> Problem:
    start = cycle.index(min(cycle))
    turned = [*cycle[start:-1], *cycle[: start + 1]]
    words = " -> ".join(map(str, turned))
    at = next(edge.at for edge in needs[turned[0]] if edge.key == turned[1])
    return parsing.location(drafts[turned[0]], files).problem(
        steps_of(at), f"these depend on one another: {words}.", "Remove one reference."
    )


def _forbidden(graph: Graph, files: Files, kinds: Kinds) -> Iterator[Problem]:
    dependents: dict[tuple[Key, str], list[Key]] = {}
    for name, spec in graph.resolved.items():
        direct = [edge.key for edge in spec.needs]
        live = bool(direct) and kinds[name.kind].live
        for key in dict.fromkeys([*direct, *graph.closure(name)] if live else direct):
            permits = kinds[key.kind].permits if key != name else None
            if permits and (reason := permits(graph[key].spec.body, live)):
                dependents.setdefault((key, reason), []).append(name)
    for (key, reason), keys in dependents.items():
        names = " and ".join(map(str, sorted(keys)))
        verb = "depend" if len(keys) > 1 else "depends"
        yield parsing.location(graph[key].spec, files).problem(
            ("spec", "stage"), f"{key} {reason}, and {names} still {verb} on it.", "Change those first."
        )
