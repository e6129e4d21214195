"""doctor: Is everything here that is needed?

Looks at git, the installed extras, the ledger, the store, the runner and what runs, and says what to do about each
thing that is wrong. Exits 1 when something is.

examples:
  llmops doctor
  llmops doctor -o json

Effects: looks at this machine, reads git, fetches the ledger, writes a few bytes into the store, prints.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from llmops import __version__
from llmops.cli.arguments import add_output
from llmops.cli.open_repository import open_repository, settings_at
from llmops.cli.options import add_environment, add_offline, locate
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, LlmopsError
from llmops.domain.records import EnvironmentState
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.git import command, refs
from llmops.ledger import leases, ledger
from llmops.plugins.runtime import Phase
from llmops.releases import observe
from llmops.reports.formatting import columns
from llmops.serving import gateway_client
from llmops.store import blobs

EXTRAS = {
    "train": ("ray", "torch", "transformers", "peft", "trl"),
    "eval": ("lm_eval",),
    "serve": ("uvicorn", "aiohttp"),
}
OUTSIDE = {
    "ledger": "Look at the git directory: its owner, its permissions, its disk.",
    "store": "Look at store.url of llmops.yaml, and at the network, the permissions and the space of what it names.",
    "runner": "Look at `runner` of llmops.yaml, and at what it names.",
    "gateway": "Look at `gateway` of llmops.yaml, and at the folder llmops/runtime of the git directory.",
}
"""Where to look when the system refuses something."""
LITTLE_SPACE = 5 << 30
ENTRY_POINT = "llmops.__main__:run"
"""Tells our distribution, by whatever name, from the package `llmops` of the index, which has no command."""


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    state: str
    remedy: str = ""
    """What to do; '' when it is well or only a remark."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)
    add_offline(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    found = list(_examine(arguments))
    if arguments.output == "json":
        terminal.show([{"what": one.what, "state": one.state, "remedy": one.remedy} for one in found])
    else:
        lines = columns([(one.what, one.state) for one in found])
        for one, line in zip(found, lines, strict=True):
            terminal.say(f"{terminal.paint('!', 'bad') if one.remedy else terminal.paint('.', 'good')} {line}")
            if one.remedy:
                terminal.say(f"    {one.remedy}")
    return Exit.NO if any(one.remedy for one in found) else Exit.WELL


def _examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield _package()
    yield from _extras()
    try:
        repo = open_repository(arguments)
        yield _git(repo.around)
        workspace = locate(arguments, repo, settings_at(repo, "HEAD"))
    except LlmopsError as error:
        yield Finding("repository", "cannot be used", str(error))
        return
    looks: tuple[tuple[str, Callable[[Workspace], Finding]], ...] = (
        ("ledger", lambda s: _ledger(s, offline=arguments.offline)),
        ("store", _store),
        ("runner", _runner),
        ("gateway", _gateway),
    )
    for name, look in looks:
        try:
            yield look(workspace)
        except LlmopsError as error:
            yield Finding(name, "does not work", str(error))
        except Exception as error:  # noqa: BLE001  a store's library may raise anything; the rest is looked at all the same
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


def _git(folder: Path) -> Finding:
    text = command.run(folder, "--version").split()[2]
    version = tuple(int(part) for part in text.split(".")[:2])
    remedy = f"Install git {'.'.join(map(str, command.LEAST))} or newer." if version < command.LEAST else ""
    return Finding("git", text, remedy)


def _ledger(workspace: Workspace, *, offline: bool) -> Finding:
    if locks := refs.left_over_locks(workspace.ledger.at, workspace.ledger.refs):
        names = ", ".join(map(str, locks))
        remedy = "Run `llmops fsck --repair --offline`."
        return Finding("ledger", f"locked by {names}, which a git left that was killed", remedy)
    if not offline:
        ledger.fetch(workspace.ledger)
    if not ledger.exists(workspace.ledger):
        begin = "llmops init" + (
            f" -e {workspace.environment}" if workspace.environment != workspace.settings.environment else ""
        )
        return Finding("ledger", f"there is none of the environment {workspace.environment}", f"Begin one: `{begin}`.")
    state = ledger.state(workspace.ledger)
    where = f"shared through {workspace.ledger.remote}" if workspace.ledger.remote else "only in this clone"
    lease = state.lease if state else None
    held = f", held by {lease.holder}" if lease and leases.is_held(lease) else ""
    return Finding("ledger", f"{len(ledger.units(workspace.ledger))} results, {where}{held}")


def _store(workspace: Workspace) -> Finding:
    kept = workspaces.open_store(workspace)
    digest = blobs.add_bytes(kept, b"llmops doctor\n")
    blobs.read(kept, digest)
    if not kept.local:
        return Finding("store", kept.url)
    free = shutil.disk_usage(workspace.folder).free
    remedy = "Free some disk space." if free < LITTLE_SPACE else ""
    return Finding("store", f"{kept.url}, {free >> 30} GiB free", remedy)


def _runner(workspace: Workspace) -> Finding:
    workspaces.open_runner(workspace)
    return Finding("runner", workspace.settings.runner.type)


def _gateway(workspace: Workspace) -> Finding:
    gate = observe.gateway(workspace)
    replicas = observe.runtime(workspace).look()
    ready = sum(one.phase is Phase.READY for one in replicas)
    if gateway_client.is_up(gate):
        return Finding("gateway", f"{gate.url}, {ready} of {len(replicas)} replicas ready")
    wanted = any(release.live for release in (ledger.state(workspace.ledger) or EnvironmentState()).releases.values())
    return Finding("gateway", "not up", "Start what was released: `llmops apply`." if wanted else "")
