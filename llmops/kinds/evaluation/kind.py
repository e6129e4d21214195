"""Evaluation: lm-eval suites over a subject, and the gates that judge what they find.

What the suites measure is identity; how it is judged is not: a gate can be changed, and the stored evidence is judged
again.

Pure.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from sys import intern
from typing import Annotated, Literal, TypeAlias

from msgspec import field

from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files, FileUse, Key, Node, Pin, Scope
from llmops.kinds.evaluation import assertions, judge_labels, rubrics, task_files
from llmops.kinds.evaluation.assertions import Assert, Judge
from llmops.plugins.fields import Body, about, ref, secret
from llmops.plugins.kind import Choices, Kind, Step

Rule: TypeAlias = Literal["no_regression", "minimum", "non_inferiority", "superiority"]
OnInconclusive: TypeAlias = Literal["fail", "extend", "neutral"]


class Gate(Body, frozen=True, kw_only=True):
    """How evidence is judged. Verdicts are pass, fail and inconclusive."""

    rule: Annotated[Rule, about("What head has to show.")] = "no_regression"
    detect: Annotated[
        float, about("no_regression: the drop that the suite must be able to see before it may pass.", gt=0)
    ] = 0.05
    value: (
        Annotated[float, about("minimum: the score that the bound has to reach; a ceiling where lower is better.")]
        | None
    ) = None
    margin: Annotated[float, about("non_inferiority: the drop that is tolerated.", ge=0)] | None = None
    alpha: Annotated[
        float, about("Chance of failing a change that changes nothing, over all suites of a gate.", gt=0, lt=0.5)
    ] = 0.05
    power: Annotated[float, about("Chance with which `detect` must be seen.", gt=0.5, lt=1)] = 0.8
    on_inconclusive: Annotated[
        OnInconclusive,
        about(
            "What evidence that does not decide does to a change: fail stops it; extend leaves it pending (exit 7) "
            "until there is more evidence; neutral lets it through and says so. Missing evidence always stops it."
        ),
    ] = "fail"
    max_items: (
        Annotated[int, about("sequential: how many items are asked at most, in whole batches.", ge=10)] | None
    ) = None
    max_minutes: (
        Annotated[float, about("sequential: how long items are asked at most, of each side, in all runs.", gt=0)] | None
    ) = None
    max_cost: (
        Annotated[float, about("sequential: the same as money, by `hourly_cost` of llmops.yaml.", gt=0)] | None
    ) = None
    against: Annotated[
        Literal["base", "none"],
        about(
            "Compare with the base revision item by item. minimum only shows base beside head; with none it does not, "
            "and nothing of base is run for it."
        ),
    ] = "base"


class Suite(Body, frozen=True, kw_only=True):
    """What is asked, how the answers are scored (by an lm-eval task or by assertions), and the gate on one metric."""

    name: Annotated[str, about("What reports call it; the task's file name if not given.", scope=Scope.NONE)] | None = (
        None
    )
    task: (
        Annotated[
            str,
            about(
                "A task YAML of this repository (evals/x.yaml) or the name of a task built into lm-eval.",
                scope=Scope.NONE,
            ),
        ]
        | None
    ) = None
    assert_: Annotated[
        tuple[Assert, ...],
        about(
            "Instead of a task: the dataset's rows fill the subject's prompt, and each answer is held to all of these. "
            "The metrics are pass (0 or 1), score (their weighted mean) and those that they name."
        ),
    ] = field(default=(), name="assert")
    threshold: (
        Annotated[
            float,
            about(
                "assert: an answer passes when its score reaches this, instead of when everything holds.", ge=0, le=1
            ),
        ]
        | None
    ) = None
    judge: Annotated[Judge | None, about("assert: who decides on llm-rubric.")] = None
    dataset: Annotated[str, ref("rows", about="Rows to ask about (its test side); replaces the task's own.")] | None = (
        None
    )
    metric: Annotated[str, about("Which metric the gate judges; the first if not given.", scope=Scope.NONE)] | None = (
        None
    )
    token: Annotated[str, secret("Access token for rows of the hub that are private or gated.")] | None = None
    num_fewshot: Annotated[int, about("Solved examples in front of each question.", ge=0)] = 0
    limit: Annotated[int, about("Only the first so many items.", ge=1)] | None = None
    trials: Annotated[
        int,
        about(
            "How often each item is asked, each time with another seed; its score is the mean. More asks only more.",
            scope=Scope.NONE,
            ge=1,
            le=100,
        ),
    ] = 1
    cluster: (
        Annotated[
            str,
            about("The column whose value items share that are about the same: they are judged as one.", min_length=1),
        ]
        | None
    ) = None
    sequential: Annotated[
        bool, about("Ask in batches, in a random order that is the same for all, until the gate has seen enough.")
    ] = False
    gate: Annotated[Gate, about("How the metric is judged.", scope=Scope.NONE)] = Gate()

    @property
    def label(self) -> str:
        """What reports call the suite."""
        return self.name or posixpath.basename(self.task or "").removesuffix(".yaml").removesuffix(".yml")

    @property
    def file(self) -> str:
        """The task's file in the repository; '' when it has none."""
        return self.task if self.task is not None and task_files.is_file(self.task) else ""

    @property
    def rubrics(self) -> dict[str, Assert]:
        """What a judge decides on, by the metrics; where there are labels, each has its own."""
        return {one.metric or "": one for one in self.assert_ if one.basis == "llm-rubric"}


class Subject(Body, frozen=True, kw_only=True):
    """What is evaluated: a model, or a deployment's revision through its engine."""

    model: Annotated[str, ref("model", about="The model.")] | None = None
    prompt: (
        Annotated[str, ref("prompt", about="Ask through this prompt; its variables are columns of the rows.")] | None
    ) = None
    deployment: (
        Annotated[
            str,
            ref(
                "deployment",
                about="The deployment, instead of a model: its engine is started for it, and asked through its prompt.",
            ),
        ]
        | None
    ) = None


class Evaluation(Body, frozen=True, kw_only=True):
    """Suites over one subject. Each suite is evidence of its own, kept item by item."""

    subject: Annotated[Subject, about("What is evaluated.")]
    suites: Annotated[tuple[Suite, ...], about("What is measured.", min_length=1)]
    batch_size: Annotated[int, about("Items at once; scores can move with it, so it is identity.", ge=1)] = 16
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], about("Number format of the weights.")] = "float32"
    device: Annotated[str, about("cpu, cuda or cuda:N.", pattern="^(cpu|cuda(:[0-9]+)?)$")] = "cpu"
    apply_chat_template: Annotated[
        bool, about("Put each question into the model's chat template; a prompt always does.")
    ] = False
    seed: Annotated[int, about("Seed of few-shot choice and of sampling.", ge=0)] = 1234


def check(evaluation: Evaluation, _: Choices) -> Iterable[FieldProblem]:
    """There is one subject; names are unique; suites and gates have what they need."""
    yield from _wrong_subject(evaluation)
    names: set[str] = set()
    for index, suite in enumerate(evaluation.suites):
        role = f"suites[{index}]"
        if suite.label and suite.label in names:
            yield FieldProblem(f"{role}.name", f'two suites are called "{suite.label}".', "Give one another name.")
        names.add(suite.label)
        yield from _wrong_gate(suite.gate, f"{role}.gate")
        yield from _wrong_sequence(suite, role)
        if (suite.task is None) == (not suite.assert_):
            yield FieldProblem(role, "a suite has either a task or assert.", "Give exactly one of them.")
        elif suite.task is None:
            yield from _wrong_assertions(evaluation, suite, role)
        else:
            yield from _misplaced(suite, role, ("threshold", "judge"), "assert")


def _wrong_subject(evaluation: Evaluation) -> Iterator[FieldProblem]:
    """Whoever asks an engine takes its options and its prompt as they are."""
    subject = evaluation.subject
    if (subject.model is None) == (subject.deployment is None):
        yield FieldProblem("subject", "a subject is either a model or a deployment.", "Give exactly one of them.")
    if subject.deployment is None:
        return
    if subject.prompt is not None:
        yield FieldProblem("subject.prompt", "a deployment is asked through its own prompt.", "Remove it.")
    for name, default in (("dtype", "float32"), ("device", "cpu")):
        if getattr(evaluation, name) != default:
            yield FieldProblem(
                name, f"the engine of a deployment decides its {name}.", "Set it in engine.config there."
            )


def _wrong_gate(gate: Gate, role: str) -> Iterator[FieldProblem]:
    if gate.rule == "minimum" and gate.value is None:
        yield FieldProblem(f"{role}.value", "the rule minimum needs a value.", "Add value.")
    if gate.rule == "non_inferiority" and gate.margin is None:
        yield FieldProblem(f"{role}.margin", "the rule non_inferiority needs a margin.", "Add margin.")
    if gate.rule != "minimum" and gate.against == "none":
        remedy = "Set against: base, or rule: minimum and a value."
        yield FieldProblem(f"{role}.against", f"{gate.rule} compares with a base.", remedy)


def _wrong_sequence(suite: Suite, role: str) -> Iterator[FieldProblem]:
    """What is asked in batches stands alone, is asked once, and moves between known bounds."""
    if not suite.sequential:
        for name in ("max_items", "max_minutes", "max_cost"):
            if getattr(suite.gate, name) is not None:
                yield FieldProblem(f"{role}.gate.{name}", f"{name} is for a sequential suite.", "Set sequential: true.")
        return
    for name, is_given, what in (
        ("cluster", suite.cluster is not None, "bets on single items, and those of a cluster are no evidence alone"),
        ("trials", suite.trials > 1, "asks each item once: another item tells more than the same one again"),
        ("judge", suite.judge is not None, "cannot wait until it is known how far a judge agrees with people"),
    ):
        if is_given:
            yield FieldProblem(f"{role}.{name}", f"a sequential suite {what}.", f"Remove {name} or sequential.")
    if suite.gate.rule == "minimum" and not 0 <= (suite.gate.value or 0) <= 1:
        what = "a sequential suite needs scores, and so a minimum, between 0 and 1."
        yield FieldProblem(f"{role}.gate.value", what, "Name such a metric, or remove sequential.")


def _wrong_assertions(evaluation: Evaluation, suite: Suite, role: str) -> Iterator[FieldProblem]:
    """Assertions need rows, a prompt that they fill, and a name."""
    if suite.name is None:
        yield FieldProblem(role, "a suite without a task needs a name.", "Add name.")
    if suite.dataset is None:
        yield FieldProblem(role, "there are no rows to ask about.", "Add dataset.")
    if evaluation.subject.prompt is None and evaluation.subject.deployment is None:
        yield FieldProblem("subject", "the rows have no prompt to fill.", "Add prompt.")
    yield from _misplaced(suite, role, ("num_fewshot", "token"), "a task")
    yield from assertions.check(suite.assert_, suite.judge, role)


def _misplaced(suite: Suite, role: str, fields: tuple[str, ...], of: str) -> Iterator[FieldProblem]:
    for name in fields:
        if getattr(suite, name):
            yield FieldProblem(f"{role}.{name}", f"{name} is only for a suite with {of}.", "Remove it.")


def leads_to(evaluation: Evaluation, files: Files) -> Iterator[FileUse]:
    """The task files, and what they include, import and read."""
    for index, suite in enumerate(evaluation.suites):
        if suite.file:
            role = intern(f"suites[{index}].task")
            yield FileUse(role, suite.file, Scope.BUILD)
            for path in task_files.look(suite.file, files, with_rows=suite.dataset is None).leads_to:
                yield FileUse(f"{role}:{posixpath.relpath(path, posixpath.dirname(suite.file))}", path, Scope.BUILD)


def examine(evaluation: Evaluation, files: Files) -> Iterator[FieldProblem | Problem]:
    """Task files are tasks that the subject can be asked, and their rows need a commit to change; labels are labels."""
    for index, suite in enumerate(evaluation.suites):
        if suite.file:
            found = task_files.look(suite.file, files, with_rows=suite.dataset is None)
            yield from found.problems
            if why := _unasked(evaluation.subject, found.output_type):
                yield FieldProblem(f"suites[{index}].task", *why)
        if suite.judge and suite.judge.labels and suite.rubrics:
            texts = {metric: str(one.value) for metric, one in suite.rubrics.items()}
            yield from judge_labels.examine(suite.judge.labels, files[suite.judge.labels], texts)


def _unasked(subject: Subject, output: str) -> tuple[str, str] | None:
    """Say why a subject cannot be asked for a type of output, and what to do."""
    if subject.deployment is not None and output in task_files.LIKELIHOODS:
        what = f"its output_type is {output}, and an engine answers with text, not with likelihoods of tokens."
        return what, "Make it generate_until, or evaluate the model: subject: {model: …}."
    if subject.prompt is not None and output == "loglikelihood_rolling":
        return "loglikelihood_rolling reads texts and asks nothing, so no prompt is filled.", "Remove subject.prompt."
    return None


def review(node: Node, nodes: Mapping[Key, Node], _: Choices) -> Iterator[FieldProblem]:
    """Of a deployment, what only its own spec says: whether it has a prompt."""
    asked = next((nodes[need.key] for need in node.needs if need.at == "subject.deployment"), None)
    if asked is None:
        return
    has_prompt = any(need.field == "prompt" for need in asked.needs)
    for index, suite in enumerate(node.spec.body.suites):
        if suite.num_fewshot and has_prompt:
            what = f"{asked.key} has a prompt, which has no place for solved examples."
            yield FieldProblem(f"suites[{index}].num_fewshot", what, "Remove it, or put examples into the prompt.")
        if suite.assert_ and not has_prompt:
            yield FieldProblem("subject.deployment", f"{asked.key} has no prompt that the rows fill.", "Give it one.")
        if any(one.basis == "perplexity" for one in suite.assert_):
            what = "an engine answers with text, not with likelihoods of tokens, so there is no perplexity."
            yield FieldProblem(f"suites[{index}].assert", what, "Remove it, or evaluate the model.")


def pins(evaluation: Evaluation) -> Iterator[Pin]:
    """A built-in task lives in the lm-eval package and on the hub: both are fixed by the lock.

    How assertions are scored, and how a judge is asked, is fixed by this version of llmops.
    """
    for index, suite in enumerate(evaluation.suites):
        role = f"suites[{index}]"
        if suite.task is not None and not suite.file:
            yield Pin(f"{role}.task", f"lm-eval://{suite.task}")
        if suite.assert_:
            yield Pin(f"{role}.assert", "llmops://assert", assertions.VERSION)
        if suite.judge:
            yield Pin(f"{role}.judge", "llmops://judge", rubrics.VERSION)


def devices(evaluation: Evaluation) -> Mapping[str, float]:
    """The one that the model is on."""
    return {evaluation.device.partition(":")[0]: 1}


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
    devices=devices,
)
