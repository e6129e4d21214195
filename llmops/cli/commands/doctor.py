"""doctor: Check this machine, the ledger and the store.

Checks git, the installed extras and plug-ins, the ledger, the store, the runner and the gateway, and prints a remedy
for each problem. Exits 1 if there is a problem.

examples:
  llmops doctor
  llmops doctor -o json

Effects: looks at this machine, reads git, fetches the ledger, writes a few bytes into the store, prints.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from llmops.api import opening
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_read_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, LlmopsError
from llmops.domain.version import __version__
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.git import command, refs
from llmops.ledger import leases, ledger
from llmops.plugins import registry
from llmops.plugins.runtime import Phase
from llmops.releases import deployments
from llmops.reports.formatting import columns
from llmops.serving import gateway_client
from llmops.store import blobs

EXTRAS = {
    "train": ("ray", "torch", "transformers", "peft", "trl"),
    "eval": ("lm_eval",),
    "serve": ("uvicorn", "aiohttp"),
}
OUTSIDE = {
    "ledger": "Check the git directory: its owner, its permissions, its disk.",
    "store": "Check store.url of llmops.yaml, and the network, the permissions and the space of what it names.",
    "runner": "Check `runner` of llmops.yaml, and what it names.",
    "gateway": "Check `gateway` of llmops.yaml, and the folder llmops/runtime of the git directory.",
}
"""What to check if the operating system or a library refuses something."""
LITTLE_SPACE = 5 << 30
ENTRY_POINT = "llmops.__main__:run"
"""Tells our distribution, by whatever name, from the package `llmops` of the index, which has no command."""


class Finding(Struct, frozen=True):
    what: str
    state: str
    remedy: str = ""
    """What mends it; '' if it is well, or only a remark."""


add_arguments = add_read_options


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    findings = list(_examine(arguments))
    terminal.result(findings, lambda: "\n".join(_lines(findings, terminal)))
    return Exit.NO if any(finding.remedy for finding in findings) else Exit.WELL


def _lines(findings: list[Finding], terminal: Terminal) -> Iterator[str]:
    lines = columns([(finding.what, finding.state) for finding in findings])
    for finding, line in zip(findings, lines, strict=True):
        yield f"{terminal.paint('!', 'bad') if finding.remedy else terminal.paint('.', 'good')} {line}"
        if finding.remedy:
            yield f"    {finding.remedy}"


def _examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield _package()
    yield from _extras()
    yield from _plugins()
    try:
        yield _git(arguments.folder)
        workspace = open_workspace(arguments, offline=True)
    except LlmopsError as error:
        yield Finding("repository", "cannot be used", str(error))
        return
    checks: tuple[tuple[str, Callable[[Workspace], Finding]], ...] = (
        ("ledger", lambda workspace: _ledger(workspace, offline=arguments.offline)),
        ("store", _store),
        ("runner", _runner),
        ("gateway", _gateway),
    )
    for name, check in checks:
        try:
            yield check(workspace)
        except LlmopsError as error:
            yield Finding(name, "does not work", str(error))
        except Exception as error:  # noqa: BLE001  the library of a store may raise anything; the other checks go on
            yield Finding(name, "does not work", f"{_why(error)}. {OUTSIDE[name]}")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}".rstrip(".")
    return f"{type(error).__name__}: {error}".rstrip(".")


def _package() -> Finding:
    for distribution in metadata.distributions(name="llmops"):
        if not any(entry.value == ENTRY_POINT for entry in distribution.entry_points):
            return Finding(
                "package",
                f"llmops {__version__}, beside a foreign distribution llmops {distribution.version}",
                "Both own the folder llmops, and an update of either breaks the other. Remove the foreign one: "
                "`pip uninstall llmops && pip install --force-reinstall --no-deps git-llmops`.",
            )
    return Finding("package", f"llmops {__version__}")


def _extras() -> Iterator[Finding]:
    for extra, packages in EXTRAS.items():
        versions, missing = [], []
        for package in packages:
            try:
                versions.append(f"{package} {metadata.version(package)}")
            except metadata.PackageNotFoundError:
                missing.append(package)
        if missing:
            # Not a fault: planning needs none of them.
            yield Finding(f"extra {extra}", f"not installed: {', '.join(missing)} (pip install 'git-llmops[{extra}]')")
        else:
            yield Finding(f"extra {extra}", ", ".join(versions))


def _plugins() -> Iterator[Finding]:
    for group, name, value in registry.entry_points():
        try:
            registry.load(group, name, value, "__name__")  # of an entry point without an attribute, the module
            yield Finding(f"plug-in {name}", f"{group}, from {value}")
        except LlmopsError as error:
            yield Finding(f"plug-in {name}", f"{group}, from {value}, does not work", str(error))


def _git(folder: Path) -> Finding:
    text = command.run(folder, "--version").split()[2]
    version = tuple(int(part) for part in text.split(".")[:2])
    remedy = f"Install git {'.'.join(map(str, command.LEAST))} or newer." if version < command.LEAST else ""
    return Finding("git", text, remedy)


def _ledger(workspace: Workspace, *, offline: bool) -> Finding:
    if locks := refs.left_over_locks(workspace.ledger.at, workspace.ledger.refs):
        names = ", ".join(map(str, locks))
        return Finding("ledger", f"locked by {names}, which a killed git left", "Run `llmops fsck --repair --offline`.")
    if not offline:
        ledger.fetch(workspace.ledger)
    if not ledger.exists(workspace.ledger):
        is_default = workspace.environment == workspace.settings.environment
        create = "llmops init" if is_default else f"llmops init -e {workspace.environment}"
        return Finding("ledger", f"the environment {workspace.environment} has none", f"Create it: `{create}`.")
    lease = opening.state(workspace).lease
    shared = f"shared through {workspace.ledger.at.remote}" if workspace.ledger.at.remote else "only in this clone"
    held = f", held by {lease.holder}" if lease and leases.is_held(lease) else ""
    return Finding("ledger", f"{len(ledger.units(workspace.ledger))} results, {shared}{held}")


def _store(workspace: Workspace) -> Finding:
    store = workspaces.open_store(workspace)
    digest = blobs.add_bytes(store, b"llmops doctor\n")
    blobs.read(store, digest)
    if not store.local:
        return Finding("store", store.url)
    free = shutil.disk_usage(workspace.folder).free
    remedy = "Free some disk space; `llmops gc` lists unused results." if free < LITTLE_SPACE else ""
    return Finding("store", f"{store.url}, {free >> 30} GiB free", remedy)


def _runner(workspace: Workspace) -> Finding:
    workspaces.open_runner(workspace)
    return Finding("runner", workspace.settings.runner.type)


def _gateway(workspace: Workspace) -> Finding:
    gateway = deployments.gateway(workspace)
    replicas = deployments.released_runtimes(workspace).look()
    ready = sum(replica.phase is Phase.READY for replica in replicas)
    if gateway_client.is_up(gateway):
        return Finding("gateway", f"{gateway.url}, {ready} of {len(replicas)} replicas ready")
    is_wanted = any(release.live for release in opening.state(workspace).releases.values())
    return Finding("gateway", "not running", "Start it: `llmops apply`." if is_wanted else "")
