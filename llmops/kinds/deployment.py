"""Deployment: a model behind an OpenAI-compatible endpoint, and how a new revision of it takes over.

The words of the strategy are those of Argo Rollouts (https://argo-rollouts.readthedocs.io/en/stable/features/canary/).

Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta, field

from llmops.domain.problems import FieldProblem
from llmops.domain.records import RuntimeChoice
from llmops.domain.resources import Key, Node, Scope
from llmops.plugins.fields import Body, Duration, Options, about, ref
from llmops.plugins.kind import Choices, Kind


class EngineSpec(Body, frozen=True, kw_only=True):
    """What answers: an external program that speaks the OpenAI API."""

    type: Annotated[str, about("Which engine: transformers, …", scope=Scope.LIVE, pattern="^[a-z][a-z0-9_]*$")] = (
        "transformers"
    )
    version: (
        Annotated[
            str, about("Version of the program; a release is refused when another one is installed.", scope=Scope.LIVE)
        ]
        | None
    ) = None
    config: Annotated[Options, about("The program's own options, in its own words.", scope=Scope.LIVE)] = {}


class RuntimeSpec(Body, frozen=True, kw_only=True):
    """Where it runs, with options."""

    type: Annotated[str, about("Which runtime: local, …", pattern="^[a-z][a-z0-9_]*$")]
    config: Annotated[Options, about("The runtime's own options.")] = {}


class Pause(Body, frozen=True, kw_only=True):
    """Wait, so that traffic can show something."""

    duration: Annotated[Duration, about("How long: 30s, 5m, 1h.")] | None = None


class Analysis(Body, frozen=True, kw_only=True):
    """What the gateway must have seen of the new revision during this step."""

    duration: Annotated[Duration, about("How long it is watched.")] = "30s"
    min_requests: Annotated[int, about("Fewer answers than this say nothing.", ge=1)] = 20
    max_error_rate: Annotated[float, about("Share of failed requests that aborts the release.", ge=0, le=1)] = 0.01
    max_latency_p95: Annotated[Duration, about("Slowest 95th percentile until the last byte.")] | None = None


class CanaryStep(Body, frozen=True, kw_only=True):
    """One step: exactly one of the three."""

    set_weight: Annotated[int, about("Percent of the requests that the new revision gets.", ge=0, le=100)] | None = None
    pause: Annotated[Pause | None, about("Wait.")] = None
    analysis: Annotated[Analysis | None, about("Compare what was seen with limits; abort when it is worse.")] = None


class Canary(Body, frozen=True, kw_only=True):
    """A new revision takes over in steps."""

    steps: Annotated[tuple[CanaryStep, ...], about("In this order; at the end the weight is 100.")] = ()


class Strategy(Body, frozen=True, kw_only=True):
    """How a new revision takes over; without steps it does so at once when it is healthy."""

    canary: Annotated[Canary, about("In steps.")] = Canary()


class KeepWarm(Body, frozen=True, kw_only=True):
    """Which earlier revisions stay started, so that going back is a traffic switch."""

    revisions: Annotated[int, about("How many good ones.", ge=0, le=5)] = 1
    for_: Annotated[Duration, about("How long after they were replaced.")] = field(default="1h", name="for")


class Deployment(Body, frozen=True, kw_only=True):
    """A model that serves. Its name is the `model` that clients ask for."""

    model: Annotated[str, ref("model", about="What serves; only a remote engine goes without.")] | None = None
    prompt: Annotated[str, ref("prompt", about="Every request goes through this prompt.", scope=Scope.LIVE)] | None = (
        None
    )
    engine: Annotated[EngineSpec, about("What answers.", plugin="engines")] = EngineSpec()
    runtime: Annotated[
        Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")] | RuntimeSpec,
        about("Where it runs: the name of a runtime, or one with options.", scope=Scope.NONE, plugin="runtimes"),
    ] = "local"
    replicas: Annotated[int, about("Copies of the engine.", scope=Scope.NONE, ge=1, le=64)] = 1
    requires: Annotated[
        tuple[Annotated[str, ref("evaluation", about="An evaluation.", is_gate=True)], ...],
        about("Evaluations of this model that must pass before a new revision is released.", scope=Scope.NONE),
    ] = ()
    strategy: Annotated[Strategy, about("How a new revision takes over.", scope=Scope.NONE)] = Strategy()
    keep_warm: Annotated[KeepWarm, about("Which earlier revisions stay started.", scope=Scope.NONE)] = KeepWarm()
    progress_deadline: Annotated[
        Duration, about("A new revision must be healthy within this time.", scope=Scope.NONE)
    ] = "10m"

    @property
    def runtime_choice(self) -> RuntimeChoice:
        """The runtime with its options."""
        if isinstance(self.runtime, str):
            return RuntimeChoice(type=self.runtime)
        return RuntimeChoice(type=self.runtime.type, config=self.runtime.config)


def check(deployment: Deployment, plugins: Choices) -> Iterable[FieldProblem]:
    """A program serves a model; steps are one thing each, and weights rise."""
    name = deployment.engine.type
    is_remote = plugins.choice("engines", name).remote
    if deployment.model is None and not is_remote:
        yield FieldProblem("model", f"the engine {name} serves a model, and none is named.", "Name a model.")
    if deployment.model is not None and is_remote:
        yield FieldProblem("model", f"the engine {name} is remote and serves a model of its own.", "Remove model.")
    weight = 0
    for index, step in enumerate(deployment.strategy.canary.steps):
        role = f"strategy.canary.steps[{index}]"
        given = [name for name in ("set_weight", "pause", "analysis") if getattr(step, name) is not None]
        if len(given) != 1:
            yield FieldProblem(role, "a step is one of set_weight, pause and analysis.", "Make several steps of it.")
        if step.set_weight is not None:
            if step.set_weight < weight:
                yield FieldProblem(f"{role}.set_weight", "the weight falls.", "Let the weights rise from step to step.")
            weight = step.set_weight


def review(node: Node, nodes: Mapping[Key, Node], _: Choices) -> Iterable[FieldProblem]:
    """A required evaluation is about the model that serves, or about this very deployment."""
    model = next((need.key for need in node.needs if need.field == "model"), None)
    for need in node.needs:
        if need.is_gate and not {model, node.key} & _subjects(nodes[need.key]):
            yield FieldProblem(
                need.at,
                f"{need.key} does not evaluate {model}.",
                "Require one whose subject is it, or this deployment.",
            )


def _subjects(evaluation: Node) -> set[Key]:
    return {need.key for need in evaluation.needs if need.at in ("subject.model", "subject.deployment")}


KIND = Kind(
    body=Deployment,
    live=True,
    provides=("deployment",),
    step_of=("engines", "engine"),
    check=check,
    review=review,
    reviewed_roles=("evaluation",),
)
