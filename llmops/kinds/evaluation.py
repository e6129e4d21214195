"""Evaluation: lm-eval suites over a subject, and the gates that judge what they find.

What the suites measure is identity; how it is judged is not: a gate can be changed, and the stored evidence is judged
again.

Pure.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from sys import intern
from typing import Annotated, Literal, TypeAlias

from llmops import tasks
from llmops.fields import Body, about, ref, secret
from llmops.plugin import Kind, Step
from llmops.problems import Complaint, Problem
from llmops.values import Files, FileUse, Pin, Scope

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
    against: Annotated[
        Literal["base", "none"], about("Compare with the base revision item by item, or judge head alone.")
    ] = "base"


class Suite(Body, frozen=True, kw_only=True):
    """One lm-eval task, and the gate on one of its metrics."""

    name: Annotated[str, about("What reports call it; the task's file name if not given.", scope=Scope.NONE)] | None = (
        None
    )
    task: Annotated[
        str,
        about(
            "A task YAML of this repository (evals/x.yaml) or the name of a task built into lm-eval.", scope=Scope.NONE
        ),
    ]
    dataset: (
        Annotated[str, ref("Dataset", about="Rows to ask about (its test side); replaces the task's own.")] | None
    ) = None
    metric: (
        Annotated[str, about("Which metric the gate judges; the task's first if not given.", scope=Scope.NONE)] | None
    ) = None
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
    gate: Annotated[Gate, about("How the metric is judged.", scope=Scope.NONE)] = Gate()

    @property
    def label(self) -> str:
        """What reports call the suite."""
        return self.name or posixpath.basename(self.task).removesuffix(".yaml").removesuffix(".yml")


class Subject(Body, frozen=True, kw_only=True):
    """What is evaluated."""

    model: Annotated[str, ref("Model", "Training", about="The model.")]
    prompt: (
        Annotated[str, ref("Prompt", about="Ask through this prompt; its variables are columns of the rows.")] | None
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


def check(evaluation: Evaluation) -> Iterable[Complaint]:
    """Labels are unique; gates have what their rule needs."""
    labels: set[str] = set()
    for index, suite in enumerate(evaluation.suites):
        role = f"suites[{index}]"
        if suite.label in labels:
            yield Complaint(f"{role}.name", f'two suites are called "{suite.label}".', "Give one another name.")
        labels.add(suite.label)
        gate = suite.gate
        if gate.rule == "minimum" and gate.value is None:
            yield Complaint(f"{role}.gate.value", "the rule minimum needs a value.", "Add value.")
        if gate.rule == "non_inferiority" and gate.margin is None:
            yield Complaint(f"{role}.gate.margin", "the rule non_inferiority needs a margin.", "Add margin.")
        if gate.rule != "minimum" and gate.against == "none":
            remedy = "Set against: base, or rule: minimum and a value."
            yield Complaint(f"{role}.gate.against", f"{gate.rule} compares with a base.", remedy)


def leads_to(evaluation: Evaluation, files: Files) -> Iterator[FileUse]:
    """The task files, and what they include, import and read."""
    for index, suite in enumerate(evaluation.suites):
        if tasks.is_file(suite.task):
            role = intern(f"suites[{index}].task")
            yield FileUse(role, suite.task, Scope.BUILD)
            for path in tasks.leads_to(suite.task, files, with_rows=suite.dataset is None):
                yield FileUse(f"{role}:{posixpath.relpath(path, posixpath.dirname(suite.task))}", path, Scope.BUILD)


def examine(evaluation: Evaluation, files: Files) -> Iterator[Problem]:
    """Task files are tasks, and their rows cannot change without a commit."""
    for suite in evaluation.suites:
        if tasks.is_file(suite.task):
            yield from tasks.examine(suite.task, files, with_rows=suite.dataset is None)


def pins(evaluation: Evaluation) -> Iterator[Pin]:
    """A built-in task lives in the lm-eval package and on the hub: both are fixed by the lock."""
    for index, suite in enumerate(evaluation.suites):
        if not tasks.is_file(suite.task):
            yield Pin(f"suites[{index}].task", f"lm-eval://{suite.task}")


def devices(evaluation: Evaluation) -> Mapping[str, float]:
    """The one that the model is on."""
    return {evaluation.device.partition(":")[0]: 1}


KIND = Kind(
    body=Evaluation,
    step=Step(
        name="evaluate",
        version=1,
        run="llmops.steps.evaluate",
        extra="eval",
        shared=True,
        parts="suites",
        trials="trials",
    ),
    check=check,
    leads_to=leads_to,
    examine=examine,
    pins=pins,
    devices=devices,
)
