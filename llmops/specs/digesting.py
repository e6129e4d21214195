"""Resolves drafts in any order: each gets its digest as soon as its dependencies have theirs.

Pure.
"""

from collections.abc import Collection, Container, Iterator, Mapping
from collections.abc import Set as AbstractSet

from llmops.domain.resources import NOTHING_KNOWN, Key, KnownCommit, Need, Ref, Scope, need
from llmops.specs import closures
from llmops.specs.closures import Draft, ResolvedSpec, in_digest


def targets(ref: Ref, declared: Container[Key]) -> list[Key]:
    """List the declared resources that a reference may mean; more than one is ambiguous."""
    asked = Key.parse(ref.name)
    if not asked.kind:
        return [key for kind in ref.kinds if (key := Key(kind, asked.name)) in declared]
    return [asked] if asked.kind in ref.kinds and asked in declared else []


class Resolver:
    """Resolves drafts in any order; over a known commit, those that may differ from it."""

    def __init__(self, known: KnownCommit = NOTHING_KNOWN, other: AbstractSet[Key] = frozenset()) -> None:
        self.drafts: dict[Key, Draft] = {}
        self.resolved: dict[Key, ResolvedSpec] = {}
        """In order of dependencies."""
        self._known = known
        self.declared: Collection[Key] = _Present(self.drafts, known, other)
        self.named: Container[Key] = _Present(self.resolved, known, other)
        if known is NOTHING_KNOWN:  # saves a hundred thousand look-ups
            self.declared, self.named = self.drafts, self.resolved
        self._waiting: dict[str, list[Draft]] = {}
        """Drafts with a missing dependency, by its name."""

    def add(self, draft: Draft) -> list[ResolvedSpec]:
        """Add a draft; return the newly resolved: perhaps the draft itself, and others that waited for it."""
        self.drafts[draft.key] = draft
        resolved: list[ResolvedSpec] = []
        trying = [draft, *self._waiting.pop(draft.key.name, ())]  # some only need it to be declared
        while trying:
            spec = self._resolve(trying.pop())
            if spec is not None:
                self.resolved[spec.key] = spec
                resolved.append(spec)
                trying += self._waiting.pop(spec.key.name, ())
        return resolved

    def _resolve(self, draft: Draft) -> ResolvedSpec | None:
        needs: list[Need] = []
        for ref in draft.refs:
            keys = targets(ref, self.declared if ref.scope is Scope.NONE else self.named)
            if len(keys) != 1:
                self._waiting.setdefault(Key.parse(ref.name).name, []).append(draft)
                return None
            needs.append(need(ref, keys[0]))
        below = [self.resolved.get(edge.key) or self._known.nodes[edge.key] for edge in in_digest(needs)]
        return closures.resolve(draft, tuple(needs), below)

    def is_settled(self) -> bool:
        """Whether all drafts are resolved, and each reference means exactly one of all resources."""
        if len(self.resolved) < len(self.drafts):
            return False
        doubtful = (ref for draft in self.drafts.values() for ref in draft.refs if len(ref.kinds) > 1)
        return all(len(targets(ref, self.declared)) == 1 for ref in doubtful)


class _Present(Collection[Key]):
    """Some resources of a commit, and those that equal the known one's."""

    def __init__(self, own: Mapping[Key, object], known: KnownCommit, other: AbstractSet[Key]) -> None:
        self._own, self._known, self._other = own, known, other

    def __contains__(self, key: object) -> bool:
        return key in self._own or (key not in self._other and key in self._known.nodes)

    def __iter__(self) -> Iterator[Key]:
        yield from self._own
        yield from (key for _, key in self._known.ranks() if key not in self._own and key not in self._other)

    def __len__(self) -> int:
        return sum(1 for _ in self)
