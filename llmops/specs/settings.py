"""Declares the settings of a repository, in `llmops.yaml` at its root.

Pure.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, TypeAlias, get_args

from llmops.domain.problems import FieldProblem
from llmops.plugins.fields import NAME_PATTERN, PATH_PATTERN, Body, Duration, Options, about, location

FILE = "llmops.yaml"
LOCK_FILE = "llmops.lock"
Trust: TypeAlias = Literal["none", "head", "strict"]
TRUST: tuple[Trust, ...] = get_args(Trust)
"""Levels of trust, from the least to the most strict."""


def stricter(levels: Iterable[Trust]) -> Trust:
    return max(levels, key=TRUST.index, default="none")


OnUnmeasured: TypeAlias = Literal["neutral", "approve", "fail"]
"""Effects of a changed deployment for which the base requires no evaluation."""


class LedgerSettings(Body, frozen=True, kw_only=True):
    """Where outcomes and releases are recorded."""

    results: Annotated[str, about("Git ref of the outcomes.", pattern="^refs/[!-~]+$")] = "refs/llmops/results"
    releases: Annotated[str, about("Git ref of the releases, without the environment.", pattern="^refs/[!-~]+$")] = (
        "refs/llmops/releases"
    )
    remote: Annotated[
        str | None, about("Git remote that shares the ledger; `origin` when there is one, null for none.")
    ] = "origin"


class RunnerSettings(Body, frozen=True, kw_only=True):
    """Where steps run."""

    type: Annotated[
        str, about("local: child processes here; ray: jobs of a Ray cluster.", pattern="^[a-z][a-z0-9_]*$")
    ] = "local"
    config: Annotated[Options, about("The runner's own options.")] = {}
    work: Annotated[str | None, about("Folder of this machine for running work; default: in the git directory.")] = None
    parallel: Annotated[int, about("Number of orders that run at once.", ge=1, le=1000)] = 1
    deadline: Annotated[Duration, about("Longest time of an order; then it is stopped, and its units fail.")] = "24h"
    idle: (
        Annotated[
            Duration,
            about("Longest time in which an order reports no progress and writes no log; default: no limit."),
        ]
        | None
    ) = None


class StoreSettings(Body, frozen=True, kw_only=True):
    """Where outputs are stored."""

    url: (
        Annotated[
            str,
            location(
                "An fsspec address: file:///…, s3://…, gs://…; default: in the git directory.",
                pattern="^[a-z0-9+]+://(?![^/]*:[^/]*@)",
            ),
        ]
        | None
    ) = None


class MiddlewareSettings(Body, frozen=True, kw_only=True):
    """A middleware of the gateway."""

    type: Annotated[str, about("Name of the middleware.", pattern="^[a-z][a-z0-9_]*$")]
    config: Annotated[Options, about("The middleware's own options.")] = {}


class GatewaySettings(Body, frozen=True, kw_only=True):
    """The endpoint of the deployments."""

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8080
    drain: Annotated[Duration, about("Time for a replaced revision to finish its requests.")] = "30s"
    middleware: Annotated[
        tuple[Annotated[MiddlewareSettings, about("A middleware.", plugin="middleware")], ...],
        about("Handlers of every request, the first outermost."),
    ] = ()


class GateSettings(Body, frozen=True, kw_only=True):
    """Limits for the work of a pull request."""

    approve_above: Annotated[
        Duration | None,
        about("Work that is expected to take longer, or has no earlier run, needs an approval; default: none does."),
    ] = None
    budget: Annotated[
        Duration | None,
        about(
            "Maximum estimated time of all suites; the most informative for their time run first. A suite that is "
            "left out is inconclusive. The option `--budget` overrides it."
        ),
    ] = None
    unmeasured: Annotated[
        OnUnmeasured,
        about(
            "Effect of a changed deployment for which the base requires no evaluation: neutral reports it; approve "
            "waits for an approval; fail stops the change."
        ),
    ] = "neutral"
    budget_cost: Annotated[float, about("The same limit as a cost, by `hourly_cost`.", ge=0)] | None = None


Device: TypeAlias = Annotated[str, about("A device.", pattern="^(cpu|cuda)$")]
"""Not a Literal: msgspec omits keys of that type from the schema, which explains invalid files."""


class Settings(Body, frozen=True, kw_only=True):
    """Settings of a whole repository."""

    specs: Annotated[
        tuple[Annotated[str, about("A folder.", pattern=PATH_PATTERN)], ...],
        about("Folders whose YAML files are specs.", min_length=1),
    ] = ("specs",)
    environment: Annotated[str, about("Environment of commands without --environment.", pattern=NAME_PATTERN)] = "local"
    ledger: Annotated[LedgerSettings, about("Where outcomes and releases are recorded.")] = LedgerSettings()
    store: Annotated[StoreSettings, about("Where outputs are stored.")] = StoreSettings()
    runner: Annotated[RunnerSettings, about("Where steps run.", plugin="runners")] = RunnerSettings()
    gate: Annotated[GateSettings, about("Limits for the work of a pull request.")] = GateSettings()
    hourly_cost: Annotated[
        dict[Device, Annotated[float, about("Money.", ge=0)]],
        about(
            "Price of an hour: of a machine without a GPU (cpu), of one GPU with its share of the machine (cuda). "
            "Plans and gates then show costs beside times; no digest depends on it."
        ),
    ] = {}
    currency: Annotated[str, about("Currency: USD, EUR, credits.", pattern="^[!-~]{0,12}$(?!\\n)")] = ""
    gateway: Annotated[GatewaySettings, about("The endpoint of the deployments.")] = GatewaySettings()
    trust: Annotated[
        Trust,
        about(
            "Commits that must be signed by a trusted key: none, the applied one (head), or every one since the last "
            "applied one (strict). The option `--trust` can only be stricter."
        ),
    ] = "none"

    @property
    def chooses_plugins(self) -> bool:
        """Whether a plug-in other than the default is chosen."""
        return self.runner != RunnerSettings() or bool(self.gateway.middleware)


def check(settings: Settings) -> Iterator[FieldProblem]:
    if settings.gate.budget_cost is not None and not settings.hourly_cost:
        what = "this is a cost, and no device has a price."
        remedy = "Add hourly_cost: {cpu: 0.05, cuda: 2.5}, or give gate.budget: 20m."
        yield FieldProblem("gate.budget_cost", what, remedy)
