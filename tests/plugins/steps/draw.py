"""draw: makes a model that was drawn at random."""

from __future__ import annotations

from collections.abc import Iterator

from llmops.domain.orders import Job
from llmops.steps.context import JobOutput, StepContext, body
from llmops.store import blobs
from tests import tiny
from tests.plugins.kinds.tiny_model import TinyModel


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    for job in jobs:
        folder = tiny.model(context.blank("model", job.unit), body(job, TinyModel).seed)
        yield JobOutput(
            job, {"model": blobs.add_folder(context.store, folder)}, {"seed": float(body(job, TinyModel).seed)}
        )
