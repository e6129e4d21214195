"""Chooses the revisions of a deployment that keep running.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmops.domain.digests import Digest
from llmops.domain.records import Release, Standing
from llmops.kinds.deployment import Deployment
from llmops.plugins.fields import seconds


def kept_warm(body: Deployment, release: Release, now: float) -> frozenset[Digest]:
    """Revisions that keep running: the live one, that of the rollout, and for a while the last good ones.

    ``now`` is in seconds since the epoch.
    """
    limit = now - seconds(body.keep_warm.for_)
    good: Iterable[tuple[float, Digest]] = (
        (revision.replaced, digest)
        for digest, revision in release.revisions.items()
        if revision.standing is Standing.GOOD and digest != release.live and revision.replaced > limit
    )
    warm = [digest for _, digest in sorted(good, reverse=True)][: body.keep_warm.revisions]
    rolling = [release.rollout.revision] if release.rollout else []
    return frozenset([release.live, *rolling, *warm])


def spare(body: Deployment, release: Release, running: Iterable[Digest], now: float) -> tuple[Digest, ...]:
    """Running revisions that need not run any more."""
    return tuple(sorted(set(running) - kept_warm(body, release, now)))
