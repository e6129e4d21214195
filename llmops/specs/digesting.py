"""drafts -> what each is called by content: one after another, as soon as everything that decides it is named.

Pure.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from collections.abc import Set as AbstractSet

from llmops.domain.resources import NOTHING_KNOWN, Key, KnownCommit, Need, Ref, Scope
from llmops.specs import closures
from llmops.specs.closures import Draft, ResolvedSpec, in_digest


def targets(ref: Ref, there: Container[Key]) -> list[Key]:
    """Give what a reference may mean among those that are there; it is well with exactly one."""
    asked = Key.parse(ref.name)
    if not asked.kind:
        return [key for kind in ref.kinds if (key := Key(kind, asked.name)) in there]
    return [asked] if asked.kind in ref.kinds and asked in there else []


class Resolver:
    """Resources that come in any order; over a known commit, those that may be other there."""

    def __init__(self, known: KnownCommit = NOTHING_KNOWN, other: AbstractSet[Key] = frozenset()) -> None:
        self.drafts: dict[Key, Draft] = {}
        self.made: dict[Key, ResolvedSpec] = {}
        """In an order in which each comes after those that decide it."""
        self._known = known
        self.declared: Container[Key] = _There(self.drafts, known, other)
        self.named: Container[Key] = _There(self.made, known, other)
        if known is NOTHING_KNOWN:  # then there is no need to ask it a hundred thousand times
            self.declared, self.named = self.drafts, self.made
        self._waiting: dict[str, list[Draft]] = {}
        """Those that lack something, by its name."""

    def add(self, draft: Draft) -> list[ResolvedSpec]:
        """Take one, and give those that are named now: perhaps itself, and perhaps others that waited for it."""
        self.drafts[draft.key] = draft
        found: list[ResolvedSpec] = []
        trying = [draft, *self._waiting.pop(draft.key.name, ())]  # some only ask that it is there
        while trying:
            made = self._name(trying.pop())
            if made is not None:
                self.made[made.key] = made
                found.append(made)
                trying += self._waiting.pop(made.key.name, ())
        return found

    def _name(self, draft: Draft) -> ResolvedSpec | None:
        needs: list[Need] = []
        for ref in draft.refs:
            found = targets(ref, self.declared if ref.scope is Scope.NONE else self.named)
            if len(found) != 1:
                self._waiting.setdefault(Key.parse(ref.name).name, []).append(draft)
                return None
            needs.append(Need(ref.role, found[0], ref.scope))
        below = [self.made.get(need.key) or self._known.nodes[need.key] for need in in_digest(needs)]
        return closures.resolve(draft, tuple(needs), below)

    def is_settled(self) -> bool:
        """Whether all that came are named, and what each refers to is still one thing, whatever came after it."""
        if len(self.made) < len(self.drafts):
            return False
        doubtful = (ref for draft in self.drafts.values() for ref in draft.refs if len(ref.kinds) > 1)
        return all(len(targets(ref, self.declared)) == 1 for ref in doubtful)


class _There:
    """Some resources of a commit, and those that are as in the known one."""

    def __init__(self, own: Mapping[Key, object], known: KnownCommit, other: AbstractSet[Key]) -> None:
        self._own, self._nodes, self._other = own, known.nodes, other

    def __contains__(self, key: object) -> bool:
        return key in self._own or (key not in self._other and key in self._nodes)
