"""Evaluates the suites of an order: jobs with the same subject share the loaded model or engine.

For each suite: open the subject, build the task, ask, score, and publish the evidence.

Effects: reads and writes the store, loads models, starts engines.
"""

from collections.abc import Iterator

from datasets import disable_caching, disable_progress_bars
from lm_eval.api.model import LM

from llmops.domain.orders import Job
from llmops.steps.context import JobFailure, JobOutput, StepContext, contained
from llmops.steps.evaluation import batches, lm_eval_guard, lm_eval_task, prepared_suite, subjects
from llmops.steps.evaluation.llm_judge import JudgePool
from llmops.steps.evaluation.prepared_suite import PreparedSuite


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput | JobFailure]:
    """Evaluate every suite; sequential suites come last, in batches.

    A suite that fails does not affect the others; a subject that cannot be opened fails all of its suites.
    """
    lm_eval_guard.install()
    disable_caching()
    disable_progress_bars()
    judges = JudgePool(context)
    by_subject: dict[str, list[Job]] = {}
    for job in jobs:
        if not job.incremental:
            by_subject.setdefault(subjects.identity(job), []).append(job)
    done = 0
    for group in by_subject.values():
        yield from contained(group, _with_shared_subject(group, context, judges, done, len(jobs)))
        done += len(group)
    yield from batches.run(tuple(job for job in jobs if job.incremental), context, judges)


def _with_shared_subject(
    jobs: list[Job], context: StepContext, judges: JudgePool, done: int, total: int
) -> Iterator[JobOutput | JobFailure]:
    context.report(f"loading {subjects.name(jobs[0])}", done, total)
    with subjects.opened(jobs[0], context) as model:
        for number, job in enumerate(jobs, done + 1):
            context.report(f"{job.key} {lm_eval_task.suite_of(job).label}", number, total)
            yield from contained((job,), _evaluate(job, model, context, judges))


def _evaluate(job: Job, model: LM, context: StepContext, judges: JudgePool) -> Iterator[JobOutput]:
    result = PreparedSuite(job, model, context, judges).ask()
    yield prepared_suite.publish(job, result, context)
