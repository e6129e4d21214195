"""Calls lm-eval as a gate does, and nothing else: ``python -m benchmarks.bare MODEL TASKS TASK BATCH``.

The call is as fast as possible: it does not read the 14,000 task files of lm-eval.

Effects: reads a model and rows.
"""

import sys

import lm_eval
from lm_eval.tasks import TaskManager


def main(model: str, tasks: str, task: str, batch: int) -> None:
    """Evaluate a model on a task, with the score of every item."""
    lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": model, "dtype": "float32"},
        tasks=[task],
        task_manager=TaskManager(include_path=tasks, include_defaults=False),
        batch_size=batch,
        device="cpu",
        bootstrap_iters=0,
        log_samples=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
