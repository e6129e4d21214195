"""capitalise: makes the checkpoint that the engine `shouting` serves."""

from __future__ import annotations

from collections.abc import Iterator

from llmops.domain.orders import Job
from llmops.steps.context import JobOutput, StepContext
from llmops.store import blobs


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    for job in jobs:
        context.folder_of(job.inputs["model"], "model")
        folder = context.blank("capitals", job.unit)
        (folder / "tag").write_text("LOUD ")
        yield JobOutput(job, {"model": blobs.add_folder(context.store, folder)}, {})
