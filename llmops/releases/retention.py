"""Chooses the revisions of a deployment that stay started.

Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from llmops.domain.digests import Digest
from llmops.domain.records import Release, Standing
from llmops.kinds.deployment import Deployment
from llmops.plugins.fields import seconds


def kept_warm(body: Deployment, release: Release, now: float) -> frozenset[Digest]:
    """The revisions that stay started: what is live or on its way, and the last good ones for a while.

    ``now`` is seconds since the epoch.
    """
    limit = now - seconds(body.keep_warm.for_)
    good: Iterable[tuple[float, Digest]] = (
        (revision.replaced, digest)
        for digest, revision in release.revisions.items()
        if revision.standing is Standing.GOOD and digest != release.live and revision.replaced > limit
    )
    warm = [digest for _, digest in sorted(good, reverse=True)][: body.keep_warm.revisions]
    on_its_way = [release.rollout.revision] if release.rollout else []
    return frozenset([release.live, *on_its_way, *warm])


def spare(body: Deployment, release: Release, running: Iterable[Digest], now: float) -> tuple[Digest, ...]:
    """The revisions that run and need not."""
    kept: Container[Digest] = kept_warm(body, release, now)
    return tuple(sorted(revision for revision in running if revision not in kept))
