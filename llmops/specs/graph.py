"""Resolves references between specs, computes each resource's digest, and reviews it together with its dependencies.

Pure.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from graphlib import CycleError, TopologicalSorter

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import LOOKS_LIKE, Invalid, Problem, did_you_mean
from llmops.domain.resources import NOTHING_KNOWN, Files, Key, KnownCommit, Need, Node, Ref, Scope, need
from llmops.plugins.registry import Plugins
from llmops.specs import closures, parsing
from llmops.specs.closures import Draft, Kinds, ResolvedSpec, in_digest
from llmops.specs.loading import ParsedCommit
from llmops.specs.parsing import steps_of


class Graph(Struct, frozen=True):
    """The resources of a commit, in order of dependencies."""

    nodes: Mapping[Key, Node] = {}
    live: tuple[Key, ...] = ()
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


class Nodes(Mapping[Key, Node]):
    """The nodes of a known commit, some of them replaced and some removed; each is decoded on access."""

    def __init__(
        self, known: KnownCommit, resolved: Mapping[Key, ResolvedSpec], hidden: AbstractSet[Key], kinds: Kinds
    ) -> None:
        self._known, self._resolved, self._hidden, self._kinds = known, resolved, hidden, kinds

    def __getitem__(self, key: Key) -> Node:
        if key in self._resolved:
            return closures.to_node(self._resolved[key], self._kinds)
        if key in self._hidden:
            raise KeyError(key)
        return self._known.nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._resolved or (key not in self._hidden and key in self._known.nodes)

    def __iter__(self) -> Iterator[Key]:
        replaced = self._hidden | self._resolved.keys()
        below = (rank for rank in self._known.ranks() if rank[1] not in replaced)
        above = ((spec.depth, key) for key, spec in self._resolved.items())
        return (key for _, key in sorted([*below, *above]))

    def __len__(self) -> int:
        replaced = sum(key in self._known.nodes for key in self._resolved.keys() | self._hidden)
        return len(self._known.nodes) - replaced + len(self._resolved)


def build(parsed: ParsedCommit, files: Files, plugins: Plugins, known: KnownCommit = NOTHING_KNOWN) -> Graph:
    """Build the graph of a commit; over a known commit, only what may differ from it.

    Raises `Invalid` with every problem of the commit: those of the files, and unknown references, cycles and forbidden
    uses.
    """
    drafts = dict(parsed.drafts)
    for key in sorted(_affected(parsed, known) - drafts.keys()):
        node = known.nodes[key]
        drafts[key] = closures.draft(node.spec, node.files, plugins.step(key.kind, node.spec.body))
    resolved = _resolved(_Declared(drafts, known, parsed.gone), parsed, files)
    graph = _graph(resolved, parsed.gone, known, plugins.kinds)
    problems = [*_reviews(graph, files, plugins), *_forbidden(graph, files, plugins.kinds)]
    if problems:
        raise Invalid(problems)
    return graph


class _Declared(Struct, frozen=True):
    """The keys that references may name: those of drafts, and of the rest of the known commit."""

    drafts: Mapping[Key, Draft]
    known: KnownCommit
    gone: AbstractSet[Key]

    def __contains__(self, key: object) -> bool:
        return key in self.drafts or (key not in self.gone and key in self.known.nodes)

    def __iter__(self) -> Iterator[Key]:
        yield from self.drafts
        hidden = self.gone | self.drafts.keys()
        yield from (key for _, key in self.known.ranks() if key not in hidden)


def _resolved(declared: _Declared, parsed: ParsedCommit, files: Files) -> dict[Key, ResolvedSpec]:
    """Resolve all drafts, in order of dependencies. Raises `Invalid` as `build`, for references and cycles."""
    drafts, known = declared.drafts, declared.known
    needs, problems = _linked(declared, parsed, files)
    resolved: dict[Key, ResolvedSpec] = {}
    try:
        for key in TopologicalSorter(_inside(needs)).static_order():
            below = [resolved.get(edge.key) or known.nodes[edge.key] for edge in in_digest(needs[key])]
            resolved[key] = closures.resolve(drafts[key], needs[key], below)
    except CycleError:
        problems.append(_cycle_problem(needs, drafts, files))
    if parsed.problems or problems:
        raise Invalid((*parsed.problems, *problems))
    return resolved


def _linked(
    declared: _Declared, parsed: ParsedCommit, files: Files
) -> tuple[dict[Key, tuple[Need, ...]], list[Problem]]:
    """Find the resources that every draft depends on, and the problems of its references."""
    needs: dict[Key, tuple[Need, ...]] = {}
    problems: list[Problem] = []
    for key, draft in declared.drafts.items():
        edges: list[Need] = []
        for ref in draft.refs:
            keys = targets(ref, declared)
            if len(keys) == 1:
                edges.append(need(ref, keys[0]))
            elif why := _unknown(ref, keys, declared, parsed):
                problems.append(parsing.location(draft, files).problem(steps_of(ref.at), *why))
        needs[key] = tuple(edges)
    return needs, problems


def _inside(needs: Mapping[Key, Sequence[Need]]) -> dict[Key, list[Key]]:
    """Map every key to its dependencies among the keys.

    References outside the digest may form cycles: a Deployment requires an Evaluation of that very Deployment.
    """
    return {key: [edge.key for edge in in_digest(edges) if edge.key in needs] for key, edges in needs.items()}


def _graph(resolved: Mapping[Key, ResolvedSpec], gone: AbstractSet[Key], known: KnownCommit, kinds: Kinds) -> Graph:
    nodes = Nodes(known, resolved, gone, kinds)
    released = {kind for kind in {key.kind for key in resolved} if kinds[kind].live}
    live = {key for key in resolved if key.kind in released} | (set(known.live()) - resolved.keys() - gone)
    graph = Graph(nodes, (), known, frozenset(resolved) | gone, resolved)
    return replace(graph, live=tuple(graph.order(live)))


def _reviews(graph: Graph, files: Files, plugins: Plugins) -> Iterator[Problem]:
    """Review each resource together with its dependencies."""
    for key, spec in graph.resolved.items():
        kind = plugins.kinds[key.kind]
        kinds = {name for role in kind.reviewed_roles for name in plugins.kinds_for(role)}
        if kind.review and any(edge.key.kind in kinds for edge in spec.needs):
            at = parsing.location(spec, files)
            yield from map(at.place, kind.review(graph[key], graph.nodes, plugins))


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


def targets(ref: Ref, declared: Container[Key]) -> list[Key]:
    """List the declared resources that a reference may mean; more than one is ambiguous."""
    asked = Key.parse(ref.name)
    if not asked.kind:
        return [key for kind in ref.kinds if (key := Key(kind, asked.name)) in declared]
    return [asked] if asked.kind in ref.kinds and asked in declared else []


def _unknown(ref: Ref, keys: Sequence[Key], declared: _Declared, parsed: ParsedCommit) -> tuple[str, str] | None:
    """Explain why a reference does not mean one key, with a remedy; None if its target already has a problem.

    If some keys could not be read, a name is unknown only if it resembles a known one.
    """
    asked = Key.parse(ref.name)
    wanted = " or ".join(ref.kinds)
    if asked.kind and asked.kind not in ref.kinds:
        return f"{asked} is not a {wanted}.", f"Name a {wanted}."
    kinds = (asked.kind,) if asked.kind else ref.kinds
    if keys:
        return f"{asked.name} is {' and '.join(map(str, keys))}.", f"Write which: {keys[0]}."
    if any(Key(kind, asked.name) in parsed.broken for kind in kinds):
        return None
    hint = did_you_mean(asked.name, [key.name for key in declared if key.kind in kinds])
    if parsed.is_partial and not hint.startswith(LOOKS_LIKE):
        return None
    return f'no {wanted} is called "{asked.name}".', hint or f"Declare a {wanted}."


def _cycle_problem(needs: Mapping[Key, Sequence[Need]], drafts: Mapping[Key, Draft], files: Files) -> Problem:
    sorter = TopologicalSorter(dict(sorted(_inside(needs).items())))  # sorted: the cycle is the same every time
    try:
        sorter.prepare()
    except CycleError as error:
        cycle: list[Key] = error.args[1][::-1]
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
