"""Prepares the model folder that an engine serves: merges an adapter into its base, and takes a whole model as it is.

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
    """Yield the digest of each deployment's model."""
    for job in jobs:
        model = job.inputs["model"]
        if "adapter" not in model.outputs:
            yield JobOutput(job, {"model": model.outputs["model"]}, {})
            continue
        context.say(f"merging {model.key}")
        merge_adapter = importlib.import_module("llmops.steps.training.merge_adapter")  # imports torch and peft
        folder = merge_adapter.merged(model, context)
        yield JobOutput(job, {"model": blobs.add_folder(context.store, folder)}, {}, PACKAGES)
