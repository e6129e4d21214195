"""Declares a Deployment: a model behind an OpenAI-compatible endpoint, and the rollout of its revisions.

The vocabulary of the strategy is that of Argo Rollouts (https://argo-rollouts.readthedocs.io/en/stable/features/canary/).

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
    """An external program that speaks the OpenAI API, or a remote endpoint."""

    type: Annotated[str, about("An engine: transformers, …", scope=Scope.LIVE, pattern="^[a-z][a-z0-9_]*$")] = (
        "transformers"
    )
    version: Annotated[
        str | None, about("Required version of the program; a release fails if another is installed.", scope=Scope.LIVE)
    ] = None
    config: Annotated[Options, about("The program's own options.", scope=Scope.LIVE)] = {}


class RuntimeSpec(Body, frozen=True, kw_only=True):
    """A runtime with options."""

    type: Annotated[str, about("Name of the runtime: local, …", pattern="^[a-z][a-z0-9_]*$")]
    config: Annotated[Options, about("The runtime's own options.")] = {}


class Pause(Body, frozen=True, kw_only=True):
    """A wait at the present weight."""

    duration: Annotated[Duration | None, about("Duration: 30s, 5m, 1h; default: until the spec changes.")] = None


class Analysis(Body, frozen=True, kw_only=True):
    """Limits for the gateway's counters of the new revision since the step began; beyond one the release is aborted."""

    duration: Annotated[Duration, about("Minimum duration.")] = "30s"
    min_requests: Annotated[int, about("Minimum number of requests for a verdict.", ge=1)] = 20
    max_error_rate: Annotated[float, about("Maximum share of failed requests.", ge=0, le=1)] = 0.01
    max_latency_p95: Annotated[Duration | None, about("Maximum 95th percentile until the last byte.")] = None


class CanaryStep(Body, frozen=True, kw_only=True):
    """One step: exactly one of the fields."""

    set_weight: Annotated[int, about("Percentage of requests for the new revision.", ge=0, le=100)] | None = None
    pause: Annotated[Pause | None, about("Wait.")] = None
    analysis: Annotated[Analysis | None, about("Compare the gateway's counters with limits, and abort beyond.")] = None


class Canary(Body, frozen=True, kw_only=True):
    """A rollout in steps."""

    steps: Annotated[tuple[CanaryStep, ...], about("Steps in order; at the end the weight is 100.")] = ()


class Strategy(Body, frozen=True, kw_only=True):
    """The rollout of a new revision; without steps it gets all traffic as soon as it is healthy."""

    canary: Annotated[Canary, about("Rollout in steps.")] = Canary()


class KeepWarm(Body, frozen=True, kw_only=True):
    """Earlier revisions that keep running, so that a rollback is a traffic switch."""

    revisions: Annotated[int, about("Number of good revisions.", ge=0, le=5)] = 1
    for_: Annotated[Duration, about("Duration after their replacement.")] = field(default="1h", name="for")


class Deployment(Body, frozen=True, kw_only=True):
    """A served model. Its name is the `model` of requests."""

    model: Annotated[str, ref("model", about="The served model; a remote engine has none.")] | None = None
    prompt: Annotated[str, ref("prompt", about="Prompt that every request fills.", scope=Scope.LIVE)] | None = None
    engine: Annotated[EngineSpec, about("The engine.", plugin="engines")] = EngineSpec()
    runtime: Annotated[
        Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")] | RuntimeSpec,
        about("Name of a runtime, or a runtime with options.", scope=Scope.NONE, plugin="runtimes"),
    ] = "local"
    replicas: Annotated[int, about("Number of copies of the engine.", scope=Scope.NONE, ge=1, le=64)] = 1
    requires: Annotated[
        tuple[Annotated[str, ref("evaluation", about="An evaluation.", is_gate=True)], ...],
        about(
            "Evaluations of this model through this prompt, or of this deployment, that must pass before a new "
            "revision is released.",
            scope=Scope.NONE,
        ),
    ] = ()
    strategy: Annotated[Strategy, about("Rollout of a new revision.", scope=Scope.NONE)] = Strategy()
    keep_warm: Annotated[KeepWarm, about("Earlier revisions that keep running.", scope=Scope.NONE)] = KeepWarm()
    progress_deadline: Annotated[Duration, about("Maximum time until a new revision is healthy.", scope=Scope.NONE)] = (
        "10m"
    )

    @property
    def runtime_choice(self) -> RuntimeChoice:
        if isinstance(self.runtime, str):
            return RuntimeChoice(type=self.runtime)
        return RuntimeChoice(type=self.runtime.type, config=self.runtime.config)


def check(deployment: Deployment, plugins: Choices) -> Iterable[FieldProblem]:
    """Check that a program has a model, that steps have one field each, and that weights rise."""
    name = deployment.engine.type
    is_remote = plugins.choice("engines", name).remote
    if deployment.model is None and not is_remote:
        yield FieldProblem("model", f"the engine {name} needs a model.", "Add model.")
    if deployment.model is not None and is_remote:
        yield FieldProblem("model", f"the engine {name} is remote and has a model of its own.", "Remove model.")
    weight = 0
    for index, step in enumerate(deployment.strategy.canary.steps):
        role = f"strategy.canary.steps[{index}]"
        given = [name for name in ("set_weight", "pause", "analysis") if getattr(step, name) is not None]
        if len(given) != 1:
            yield FieldProblem(role, "a step is one of set_weight, pause and analysis.", "Make several steps of it.")
        if step.set_weight is not None:
            if step.set_weight < weight:
                yield FieldProblem(f"{role}.set_weight", "the weight falls.", "Raise the weight from step to step.")
            weight = step.set_weight


def review(node: Node, nodes: Mapping[Key, Node], _: Choices) -> Iterable[FieldProblem]:
    """Check that required evaluations ask what will serve: the model through the prompt, or this deployment."""
    served = {need.field: need.key for need in node.needs if need.field in ("model", "prompt")}
    for need in node.needs:
        if not need.is_gate or (subject := _subject(nodes[need.key])) in (served, {"deployment": node.key}):
            continue
        if subject.get("model") != served.get("model"):
            what = f"{need.key} does not evaluate {served.get('model', node.key)}."
        else:
            asked, prompt = subject.get("prompt", "no prompt"), served.get("prompt", "none")
            what = f"{need.key} evaluates the model through {asked}, and not through {prompt}."
        remedy = "Require one whose subject has that model and that prompt, or is this deployment."
        yield FieldProblem(need.at, what, remedy)


def _subject(evaluation: Node) -> dict[str, Key]:
    return {need.at.removeprefix("subject."): need.key for need in evaluation.needs if need.field == "subject"}


KIND = Kind(
    body=Deployment,
    live=True,
    provides=("deployment",),
    step_of=("engines", "engine"),
    check=check,
    review=review,
    reviewed_roles=("evaluation",),
)
