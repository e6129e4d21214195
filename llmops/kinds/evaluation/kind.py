"""Checks Evaluations, and names the files and pins that they depend on.

Pure.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from sys import intern

from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files, FileUse, Key, Node, Pin, Scope
from llmops.kinds.evaluation import assertions, judge_labels, rubrics, sampling, task_files, task_policy
from llmops.kinds.evaluation.spec import Evaluation, Gate, Subject, Suite
from llmops.kinds.evaluation.task_files import TaskSummary
from llmops.plugins.kind import Choices, Kind, Step


def check(evaluation: Evaluation, _: Choices) -> Iterable[FieldProblem]:
    """Check the subject, that the suites have unique names, and the fields of suites and gates."""
    yield from _subject_problems(evaluation)
    names: set[str] = set()
    for index, suite in enumerate(evaluation.suites):
        role = f"suites[{index}]"
        if suite.label and suite.label in names:
            yield FieldProblem(f"{role}.name", f'two suites are called "{suite.label}".', "Rename one.")
        names.add(suite.label)
        yield from _gate_problems(suite.gate, f"{role}.gate")
        yield from _sequential_problems(suite, role)
        if (suite.task is None) == (not suite.assert_):
            yield FieldProblem(role, "a suite has either a task or assert.", "Set exactly one of them.")
        elif suite.task is None:
            yield from _assertion_problems(evaluation, suite, role)
        else:
            yield from _misplaced(suite, role, ("threshold", "judge"), "assert")


def _subject_problems(evaluation: Evaluation) -> Iterator[FieldProblem]:
    """A deployment has its own prompt and engine options."""
    subject = evaluation.subject
    if (subject.model is None) == (subject.deployment is None):
        yield FieldProblem("subject", "a subject is either a model or a deployment.", "Set exactly one of them.")
    if subject.deployment is None:
        return
    if subject.prompt is not None:
        yield FieldProblem("subject.prompt", "a deployment is asked through its own prompt.", "Remove it.")
    for name, default in (("dtype", "float32"), ("device", "cpu")):
        if getattr(evaluation, name) != default:
            yield FieldProblem(
                name, f"the engine of a deployment decides its {name}.", "Set it in engine.config there."
            )


def _gate_problems(gate: Gate, role: str) -> Iterator[FieldProblem]:
    if gate.rule == "minimum" and gate.value is None:
        yield FieldProblem(f"{role}.value", "the rule minimum needs a value.", "Add value.")
    if gate.rule == "non_inferiority" and gate.margin is None:
        yield FieldProblem(f"{role}.margin", "the rule non_inferiority needs a margin.", "Add margin.")
    if gate.rule != "minimum" and gate.against == "none":
        remedy = "Set against: base, or rule: minimum and a value."
        yield FieldProblem(f"{role}.against", f"{gate.rule} compares with a base.", remedy)


def _sequential_problems(suite: Suite, role: str) -> Iterator[FieldProblem]:
    """A sequential suite needs independent items, one trial, and scores between 0 and 1."""
    if not suite.sequential:
        for name in ("max_items", "max_minutes", "max_cost"):
            if getattr(suite.gate, name) is not None:
                yield FieldProblem(f"{role}.gate.{name}", f"{name} is for a sequential suite.", "Set sequential: true.")
        return
    for name, is_set, what in (
        ("cluster", suite.cluster is not None, "needs independent items, so it has no clusters"),
        ("trials", suite.trials > 1, "asks each item once: a new item is more informative than another trial"),
        ("judge", suite.judge is not None, "decides before the agreement of a judge is known"),
    ):
        if is_set:
            yield FieldProblem(f"{role}.{name}", f"a sequential suite {what}.", f"Remove {name} or sequential.")
    if suite.gate.rule == "minimum" and not 0 <= (suite.gate.value or 0) <= 1:
        what = "a sequential suite needs scores, and so a minimum, between 0 and 1."
        yield FieldProblem(f"{role}.gate.value", what, "Choose such a metric, or remove sequential.")


def _assertion_problems(evaluation: Evaluation, suite: Suite, role: str) -> Iterator[FieldProblem]:
    """Assertions need a name, rows, and a prompt for the rows."""
    if suite.name is None:
        yield FieldProblem(role, "a suite without a task needs a name.", "Add name.")
    if suite.dataset is None:
        yield FieldProblem(role, "there are no rows to ask about.", "Add dataset.")
    if evaluation.subject.prompt is None and evaluation.subject.deployment is None:
        yield FieldProblem("subject", "the rows have no prompt to fill.", "Add prompt.")
    yield from _misplaced(suite, role, ("num_fewshot", "token"), "a task")
    yield from assertions.check(suite.assert_, suite.judge, role)


def _misplaced(suite: Suite, role: str, fields: tuple[str, ...], owner: str) -> Iterator[FieldProblem]:
    for name in fields:
        if getattr(suite, name):
            yield FieldProblem(f"{role}.{name}", f"{name} is only for a suite with {owner}.", "Remove it.")


EXAMPLES = ":num_fewshot"
"""End of the role of a task file whose own number of solved examples, or whose own examples, count.

It sets such a suite apart in the digest from one of a time when those of the file did not count.
"""


def _takes_examples_of(task: TaskSummary, suite: Suite) -> bool:
    if suite.num_fewshot is None:
        return task.num_fewshot > 0
    return suite.num_fewshot > 0 and task.has_samples


def leads_to(evaluation: Evaluation, files: Files) -> Iterator[FileUse]:
    for index, suite in enumerate(evaluation.suites):
        if suite.file:
            role = intern(f"suites[{index}].task")
            yield FileUse(role, suite.file, Scope.BUILD)
            task = task_files.summarize(suite.file, files, with_rows=suite.dataset is None)
            if _takes_examples_of(task, suite):
                yield FileUse(f"{role}{EXAMPLES}", suite.file, Scope.BUILD)
            for path in task.leads_to:
                yield FileUse(f"{role}:{posixpath.relpath(path, posixpath.dirname(suite.file))}", path, Scope.BUILD)


def examine(evaluation: Evaluation, files: Files) -> Iterator[FieldProblem | Problem]:
    """Check task files (also whether the subject can answer them) and labels."""
    for index, suite in enumerate(evaluation.suites):
        if suite.file:
            task = task_files.summarize(suite.file, files, with_rows=suite.dataset is None)
            yield from task.problems
            if problem := _output_type_problem(evaluation.subject, task.output_type):
                yield FieldProblem(f"suites[{index}].task", *problem)
        if suite.judge and suite.judge.labels and suite.rubrics:
            texts = {metric: str(assertion.value) for metric, assertion in suite.rubrics.items()}
            yield from judge_labels.examine(suite.judge.labels, files[suite.judge.labels], texts)


def _output_type_problem(subject: Subject, output: str) -> tuple[str, str] | None:
    """Reason why a subject cannot be asked for an output type, and the remedy."""
    if subject.deployment is not None and output in task_policy.LIKELIHOODS:
        what = f"its output_type is {output}, and an engine answers with text, not with likelihoods of tokens."
        return what, "Make it generate_until, or evaluate the model (subject: {model: …})."
    if subject.prompt is not None and output == "loglikelihood_rolling":
        return "loglikelihood_rolling reads texts and asks nothing, so no prompt is filled.", "Remove subject.prompt."
    return None


def review(node: Node, nodes: Mapping[Key, Node], _: Choices) -> Iterator[FieldProblem]:
    deployment = next((nodes[need.key] for need in node.needs if need.at == "subject.deployment"), None)
    if deployment is None:
        return
    has_prompt = any(need.field == "prompt" for need in deployment.needs)
    roles = {use.at for use in node.spec.files}
    for index, suite in enumerate(node.spec.body.suites):
        what = f"{deployment.key} has a prompt, which has no place for solved examples."
        if suite.num_fewshot and has_prompt:
            yield FieldProblem(f"suites[{index}].num_fewshot", what, "Remove it, or put examples into the prompt.")
        elif f"suites[{index}].task{EXAMPLES}" in roles and has_prompt:
            remedy = "Set num_fewshot: 0 in the suite, which overrides the task file."
            yield FieldProblem(f"suites[{index}]", f"{what[:-1]}, and the task file has some.", remedy)
        if suite.assert_ and not has_prompt:
            yield FieldProblem(
                "subject.deployment", f"{deployment.key} has no prompt that the rows fill.", "Add one to it."
            )
        if any(assertion.basis == "perplexity" for assertion in suite.assert_):
            what = "an engine answers with text, not with likelihoods of tokens, so there is no perplexity."
            yield FieldProblem(f"suites[{index}].assert", what, "Remove it, or evaluate the model.")


def pins(evaluation: Evaluation) -> Iterator[Pin]:
    """Pin built-in tasks, which depend on lm-eval and the hub, and the versions of assertions and judges in llmops."""
    for index, suite in enumerate(evaluation.suites):
        role = f"suites[{index}]"
        if suite.task is not None and not suite.file:
            yield Pin(f"{role}.task", f"lm-eval://{suite.task}")
        if suite.assert_:
            yield Pin(f"{role}.assert", "llmops://assert", assertions.VERSION)
        if suite.judge:
            yield Pin(f"{role}.judge", "llmops://judge", rubrics.VERSION)


KIND = Kind(
    body=Evaluation,
    step=Step(
        name="evaluate",
        version=2,
        run="llmops.steps.evaluation.evaluate",
        extra="eval",
        shared=True,
        parts="suites",
        trials="trials",
    ),
    check=check,
    leads_to=leads_to,
    examine=examine,
    pins=pins,
    review=review,
    provides=("evaluation",),
    reviewed_roles=("deployment",),
    devices=sampling.devices,
    options=sampling.options,
)
