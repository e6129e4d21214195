"""prepare: makes the model folder that an engine serves: whole models as they are, adapters merged into their base.

Effects: reads and writes the store.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from llmops.domain.orders import Job
from llmops.steps.context import JobOutput, StepContext
from llmops.store import blobs

PACKAGES = ("torch", "transformers", "peft")


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    """Give each deployment the digest of its model."""
    for job in jobs:
        given = job.inputs["model"]
        if "adapter" not in given.outputs:
            yield JobOutput(job, {"model": given.outputs["model"]}, {})
            continue
        context.say(f"merging {given.key}")
        fuse = importlib.import_module(
            "llmops.steps.training.merge_adapter"
        )  # peft and transformers, only when there is something to merge
        yield JobOutput(job, {"model": blobs.add_folder(context.store, fuse.merged(given, context))}, {}, PACKAGES)
