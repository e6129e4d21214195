"""Prepares the model that an engine serves: an adapter is merged into its base.

Effects: reads and writes the store.
"""

import importlib
from collections.abc import Iterator

from llmops.domain.digests import Digest
from llmops.domain.orders import Input, Job
from llmops.steps.context import JobOutput, StepContext
from llmops.store import blobs

PACKAGES = ("torch", "transformers", "peft")


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    for job in jobs:
        model = job.inputs["model"]
        packages = PACKAGES if "adapter" in model.outputs else ()
        yield JobOutput(job, {"model": whole_model(model, context)}, {}, packages)


def whole_model(model: Input, context: StepContext) -> Digest:
    """Return the model folder of an input; an adapter is merged into its base."""
    if "adapter" not in model.outputs:
        return model.outputs["model"]
    context.report(f"merging {model.key}")
    merge_adapter = importlib.import_module("llmops.steps.training.merge_adapter")  # imports torch and peft
    return blobs.add_folder(context.store, merge_adapter.merged(model, context))
