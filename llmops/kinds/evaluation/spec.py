"""Declares the fields of an Evaluation: suites over one subject, each with a gate on one of its metrics.

The questions are part of the digest; the gates are not. After a change of a gate, the stored evidence is judged again.

Pure.
"""

import posixpath
from typing import Annotated, Literal, TypeAlias

from msgspec import field

from llmops.domain.resources import Scope
from llmops.kinds.evaluation import task_files
from llmops.kinds.evaluation.assertions import Assert, Judge
from llmops.plugins.fields import Body, about, ref, secret

GateRule: TypeAlias = Literal["no_regression", "minimum", "non_inferiority", "superiority"]
OnInconclusive: TypeAlias = Literal["fail", "extend", "neutral"]


class Gate(Body, frozen=True, kw_only=True):
    """Rule for the verdict on a suite: pass, fail or inconclusive."""

    rule: Annotated[GateRule, about("Claim that the evidence must support.")] = "no_regression"
    detect: Annotated[float, about("no_regression: drop that must be detectable before the suite may pass.", gt=0)] = (
        0.05
    )
    value: Annotated[
        float | None, about("minimum: score that the lower bound must reach; a ceiling where lower is better.")
    ] = None
    margin: Annotated[float, about("non_inferiority: tolerated drop.", ge=0)] | None = None
    alpha: Annotated[
        float, about("Significance level: chance that any suite fails when nothing changed.", gt=0, lt=0.5)
    ] = 0.05
    power: Annotated[float, about("Power: chance with which a drop of `detect` must be detected.", gt=0.5, lt=1)] = 0.8
    on_inconclusive: Annotated[
        OnInconclusive,
        about(
            "Effect of undecided evidence on a change: fail stops it; extend leaves it pending (exit 7) until there "
            "is more evidence; neutral lets it pass and reports it. Missing evidence always stops it."
        ),
    ] = "fail"
    max_items: Annotated[int, about("sequential: maximum number of items, in whole batches.", ge=10)] | None = None
    max_minutes: Annotated[float, about("sequential: maximum time of each side, over all runs.", gt=0)] | None = None
    max_cost: (
        Annotated[float, about("sequential: maximum cost of each side, by `hourly_cost` of llmops.yaml.", gt=0)] | None
    ) = None
    against: Annotated[
        Literal["base", "none"],
        about(
            "base: pair the items with those of the base; minimum only shows base beside head. none (minimum only): "
            "do not evaluate base."
        ),
    ] = "base"


class Suite(Body, frozen=True, kw_only=True):
    """Questions, the scoring of the answers (by an lm-eval task or assertions), and the gate on one metric."""

    name: Annotated[str | None, about("Name in reports; default: file name of the task.", scope=Scope.NONE)] = None
    task: Annotated[
        str | None,
        about("Task file of this repository (evals/x.yaml), or name of a task built into lm-eval.", scope=Scope.NONE),
    ] = None
    assert_: Annotated[
        tuple[Assert, ...],
        about(
            "Instead of a task: the rows of the dataset fill the subject's prompt, and every answer is scored by "
            "these. The metrics are pass (0 or 1), score (weighted mean) and those that they name."
        ),
    ] = field(default=(), name="assert")
    threshold: (
        Annotated[
            float,
            about("assert: score from which an answer passes; default: all assertions must hold.", ge=0, le=1),
        ]
        | None
    ) = None
    judge: Annotated[Judge | None, about("assert: the judge of llm-rubric.")] = None
    dataset: (
        Annotated[str, ref("rows", about="Dataset whose test split is asked about; replaces the rows of the task.")]
        | None
    ) = None
    metric: Annotated[str | None, about("Metric that the gate judges; default: the first.", scope=Scope.NONE)] = None
    token: Annotated[str, secret("Access token for private or gated rows of the hub.")] | None = None
    num_fewshot: (
        Annotated[
            int,
            about(
                "Number of solved examples before each question; default: that of the task file, or 0.",
                neutral=0,
                ge=0,
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, about("Ask only the first so many items.", ge=1)] | None = None
    trials: Annotated[
        int,
        about(
            "Number of samples of each item, with different seeds; its score is their mean. Raising it reuses earlier "
            "trials.",
            scope=Scope.NONE,
            ge=1,
            le=100,
        ),
    ] = 1
    cluster: (
        Annotated[
            str,
            about("Column with the cluster of an item; the items of a cluster are not independent.", min_length=1),
        ]
        | None
    ) = None
    sequential: Annotated[bool, about("Ask in batches, in a fixed random order, until the gate has decided.")] = False
    gate: Annotated[Gate, about("Rule for the verdict.", scope=Scope.NONE)] = Gate()

    @property
    def label(self) -> str:
        return self.name or posixpath.basename(self.task or "").removesuffix(".yaml").removesuffix(".yml")

    @property
    def file(self) -> str:
        """The task's file in the repository; '' when it has none."""
        return self.task if self.task is not None and task_files.is_file(self.task) else ""

    @property
    def rubrics(self) -> dict[str, Assert]:
        """Assertions for the judge, by metric; where there are labels, each has a metric of its own."""
        return {assertion.metric or "": assertion for assertion in self.assert_ if assertion.basis == "llm-rubric"}


class Subject(Body, frozen=True, kw_only=True):
    """A model, or a revision of a deployment through its engine."""

    model: Annotated[str, ref("model", about="The model.")] | None = None
    prompt: (
        Annotated[str, ref("prompt", about="Prompt to ask through; its variables are columns of the rows.")] | None
    ) = None
    deployment: (
        Annotated[
            str,
            ref(
                "deployment",
                about="Deployment, instead of a model: its engine is started and asked through its prompt.",
            ),
        ]
        | None
    ) = None


class Evaluation(Body, frozen=True, kw_only=True):
    """Suites over one subject. The evidence of each suite is stored separately, item by item."""

    subject: Annotated[Subject, about("The model or deployment to evaluate.")]
    suites: Annotated[tuple[Suite, ...], about("The suites to run.", min_length=1)]
    batch_size: Annotated[int, about("Items per batch; part of the digest, because it can affect scores.", ge=1)] = 16
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], about("Data type of the weights.")] = "float32"
    device: Annotated[str, about("cpu, cuda or cuda:N.", pattern="^(cpu|cuda(:[0-9]+)?)$")] = "cpu"
    apply_chat_template: Annotated[
        bool, about("Render each question with the model's chat template; a prompt always does.")
    ] = False
    seed: Annotated[int, about("Seed of the few-shot examples and of sampling.", ge=0)] = 1234
