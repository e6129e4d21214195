"""cook: writes what was cooked, and one line for every time that it was, so that tests can count."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from llmops.domain.orders import Job
from llmops.steps.context import JobOutput, StepContext, StepFailed, body
from llmops.store import blobs
from tests.plugins.kinds.dish import Dish

COUNTER = "COOKED"
"""Environment variable with the path of the file that the lines go to."""
ENOUGH = "enough"
"""A word in that file which ends what is being cooked."""


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    for job in jobs:
        part = "" if job.index is None else f"{job.field}[{job.index}]"
        text = part
        if job.key.kind == "Dish":
            dish = body(job, Dish)
            _note(f"begin {job.key} {os.getpid()}")
            _cook(dish, context)
            text = " ".join([dish.text, *(_said(given.outputs["text"], context) for given in job.inputs.values())])
        _note(f"done {job.key} {part} {os.getpid()}".replace("  ", " "))
        yield JobOutput(job, {"text": _plate(text, job, context)}, _figures(job, text))


def _cook(dish: Dish, context: StepContext) -> None:
    if dish.fails == "error":
        raise StepFailed("it burnt")
    if dish.fails in ("exit", "interrupt"):
        print(f"the recipe: {context.secret(f'env:{COUNTER}')}")
        raise SystemExit(4) if dish.fails == "exit" else KeyboardInterrupt
    if dish.fails == "vanish":
        os.kill(os.getpid(), signal.SIGKILL)
    steps = max(1, round(dish.seconds * 20))
    for step in range(steps):
        context.report("cooking", step + 1, steps)
        time.sleep(dish.seconds / steps)
        if ENOUGH in Path(os.environ[COUNTER]).read_text():
            return


def _figures(job: Job, text: str) -> dict[str, float]:
    wrong = job.key.kind == "Dish" and body(job, Dish).fails == "nan"
    return {"letters": float("nan") if wrong else float(len(text))}


def _plate(text: str, job: Job, context: StepContext) -> str:
    folder = context.scratch("plate", job.unit)
    (folder / "text").write_text(text)
    return blobs.add_folder(context.store, folder)


def _said(digest: str, context: StepContext) -> str:
    return blobs.read(context.store, blobs.manifest(context.store, digest).files["text"].sha256).decode()


def _note(line: str) -> None:
    with open(os.environ[COUNTER], "a") as file:  # noqa: PTH123  one write call is one line, whoever else writes
        file.write(f"{line}\n")
