"""The settings of a repository: `llmops.yaml` at its root.

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
"""Which commits must be signed, from the least to the most."""


def stricter(levels: Iterable[Trust]) -> Trust:
    """Give the level that asks for most."""
    return max(levels, key=TRUST.index, default="none")


class LedgerSettings(Body, frozen=True, kw_only=True):
    """Where it is written what was done."""

    results: Annotated[str, about("Git ref of the outcomes.", pattern="^refs/[!-~]+$")] = "refs/llmops/results"
    releases: Annotated[str, about("Git ref of what runs; the environment is added.", pattern="^refs/[!-~]+$")] = (
        "refs/llmops/releases"
    )
    remote: (
        Annotated[str, about("Git remote that shares the ledger; `origin` when there is one, null for none.")] | None
    ) = "origin"


class RunnerSettings(Body, frozen=True, kw_only=True):
    """Where steps run."""

    type: Annotated[
        str, about("local: child processes here; ray: jobs of a Ray cluster.", pattern="^[a-z][a-z0-9_]*$")
    ] = "local"
    config: Annotated[Options, about("The runner's own options.")] = {}
    work: (
        Annotated[
            str,
            about("Folder of this machine for running work. In the git directory if not given."),
        ]
        | None
    ) = None
    parallel: Annotated[int, about("How many orders run at once.", ge=1, le=1000)] = 1


class StoreSettings(Body, frozen=True, kw_only=True):
    """Where bytes are kept."""

    url: (
        Annotated[
            str,
            location(
                "An fsspec address: file:///…, s3://…, gs://…. In the git directory if not given.",
                pattern="^[a-z0-9+]+://(?![^/]*:[^/]*@)",
            ),
        ]
        | None
    ) = None


class MiddlewareSettings(Body, frozen=True, kw_only=True):
    """One thing that the gateway does with every request on its way."""

    type: Annotated[str, about("Which middleware.", pattern="^[a-z][a-z0-9_]*$")]
    config: Annotated[Options, about("Its own options.")] = {}


class GatewaySettings(Body, frozen=True, kw_only=True):
    """Where clients reach the deployments."""

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8080
    drain: Annotated[Duration, about("How long a replaced revision may take to finish its requests.")] = "30s"
    middleware: Annotated[
        tuple[Annotated[MiddlewareSettings, about("A middleware.", plugin="middleware")], ...],
        about("What every request passes, the first outermost."),
    ] = ()


class GateSettings(Body, frozen=True, kw_only=True):
    """What a pull request may cost."""

    approve_above: (
        Annotated[
            Duration,
            about(
                "Work that is expected to take longer, or was never done before, waits for an approval. "
                "Nothing waits if not given.",
            ),
        ]
        | None
    ) = None
    budget: (
        Annotated[
            Duration,
            about(
                "No more work than this is begun, by estimates: what tells most for its time first. A suite that is "
                "left out is inconclusive. `--budget` says otherwise.",
            ),
        ]
        | None
    ) = None
    budget_cost: Annotated[float, about("The same in money, by `hourly_cost`.", ge=0)] | None = None


Device: TypeAlias = Annotated[str, about("A device.", pattern="^(cpu|cuda)$")]
"""Not a Literal: msgspec leaves the names of keys out of the schema, by which a file that is wrong is explained."""


class Settings(Body, frozen=True, kw_only=True):
    """What holds for a whole repository."""

    specs: Annotated[
        tuple[Annotated[str, about("A folder.", pattern=PATH_PATTERN)], ...],
        about("Folders whose YAML files are specs.", min_length=1),
    ] = ("specs",)
    environment: Annotated[str, about("Where `apply` releases to when nothing else is said.", pattern=NAME_PATTERN)] = (
        "local"
    )
    ledger: Annotated[LedgerSettings, about("Where it is written what was done.")] = LedgerSettings()
    store: Annotated[StoreSettings, about("Where bytes are kept.")] = StoreSettings()
    runner: Annotated[RunnerSettings, about("Where steps run.", plugin="runners")] = RunnerSettings()
    gate: Annotated[GateSettings, about("What a pull request may cost.")] = GateSettings()
    hourly_cost: Annotated[
        dict[Device, Annotated[float, about("Money.", ge=0)]],
        about(
            "What an hour costs: of a machine without a GPU (cpu), of one GPU with its share of its machine (cuda). "
            "Plans and gates then show money beside the time; it decides nothing of what is made."
        ),
    ] = {}
    currency: Annotated[str, about("What money is called: USD, EUR, credits.", pattern="^[!-~]{0,12}$(?!\\n)")] = ""
    gateway: Annotated[GatewaySettings, about("Where clients reach the deployments.")] = GatewaySettings()
    trust: Annotated[
        Trust,
        about(
            "Which commits must be signed by a trusted key: none, the one that is applied (head), or every one since "
            "the one applied last (strict). Whoever runs llmops may ask for more, not for less."
        ),
    ] = "none"

    @property
    def chooses_plugins(self) -> bool:
        """Whether it names any plug-in that is not the default."""
        return self.runner != RunnerSettings() or bool(self.gateway.middleware)


def check(settings: Settings) -> Iterator[FieldProblem]:
    """Say what is wrong between settings that are right by themselves: a limit in money needs a price."""
    if settings.gate.budget_cost is not None and not settings.hourly_cost:
        what = "this is an amount of money, and no device has a price, so nothing could be held to it."
        remedy = "Add hourly_cost: {cpu: 0.05, cuda: 2.5}, or give gate.budget: 20m."
        yield FieldProblem("gate.budget_cost", what, remedy)
