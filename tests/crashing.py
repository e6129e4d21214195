"""``python -m tests.crashing POINT AFTER FOLDER WORD…``: llmops with the tests' plug-ins, killed on its way.

POINT is where: before or after one of `PLACES`, in this process, or one of `STEP_PLACES`, in the process of a step;
``@training`` behind it means only what is about a Training. AFTER says how often that is passed unharmed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llmops.kinds
import llmops.serving.engines
from llmops import cli
from llmops.git import refs
from llmops.host import processes
from llmops.ledger import ledger
from llmops.runners.local import LocalOrders
from llmops.serving import gateway_client, supervised
from llmops.steps import __main__ as steps
from llmops.store import blobs

PLUGINS = Path(__file__).parent / "plugins"
PLACES: dict[str, tuple[Any, str]] = {
    "state": (ledger, "transact"),
    "result": (ledger, "record"),
    "push": (refs, "push"),
    "write": (refs, "write"),
    "start": (LocalOrders, "start"),
    "program": (supervised, "start"),  # a replica, or the gateway
    "routes": (gateway_client, "_write"),
    "end": (supervised, "stop"),
}
STEP_PLACES: dict[str, tuple[Any, str]] = {"store": (blobs, "add_folder"), "said": (steps, "_write")}


def points(places: dict[str, tuple[Any, str]]) -> list[str]:
    """Return the points around some places."""
    return [f"{when} {what}" for what in places for when in ("before", "after")]


def crash(folder: Path, point: str, after: int, *words: str) -> bool:
    """Run llmops in a repository, killed at a point; give whether that was reached."""
    arguments = [point, str(after), str(folder), *(words or ("apply",))]
    command = [sys.executable, "-m", "tests.crashing", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if point.partition("@")[0] in points(STEP_PLACES):
        return "vanished" in done.stdout + done.stderr
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == -signal.SIGKILL


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start llmops with the tests' plug-ins in a process group of its own, unharmed."""
    command = [sys.executable, "-m", "tests.crashing", "nowhere", "0", str(folder), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)


class Death:
    """Comes when a point has been passed a number of times."""

    def __init__(self, point: str, after: int) -> None:
        (self.point, _, kind), self.left = point.partition("@"), after
        self.kind = re.compile(rf"\b{kind}[-/]" if kind else "")

    def around(self, module: Any, name: str, what: str) -> None:
        inner: Callable[..., object] = getattr(module, name)

        def wrapped(*arguments: object, **options: object) -> object:
            about = str(arguments[-1]).lower()  # the folder of an order, or the message of a commit
            self.pass_by(f"before {what}", about)
            found = inner(*arguments, **options)
            self.pass_by(f"after {what}", about)
            return found

        setattr(module, name, wrapped)

    def pass_by(self, point: str, about: str) -> None:
        self.left -= point == self.point and bool(self.kind.search(about))
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(point: str, after: str, folder: str, words: list[str]) -> int:
    death = Death(point, int(after))
    # A shell makes what it starts in the background ignore the first, and nohup the second.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    llmops.serving.engines.__path__.append(str(PLUGINS / "engines"))
    if not words:
        for what, (module, name) in STEP_PLACES.items():
            death.around(module, name, what)
        return steps.main(Path(folder))
    llmops.kinds.__path__.append(str(PLUGINS / "kinds"))
    for what, (module, name) in PLACES.items():
        death.around(module, name, what)
    start_steps_here(setattr, death, after)
    return cli.main(["-C", folder, *words])


def start_steps_here(put: Callable[[Any, str, Any], None], death: Death | None = None, after: str = "0") -> None:
    """Start steps through this module, so that they know the tests' engines, and may die at a point of theirs."""
    inner = processes.detach
    dies = death is not None and death.point in points(STEP_PLACES)

    def detach(argv: tuple[str, ...], *rest: Any) -> int:
        if argv[2] == "llmops.steps":
            point = death.point if death and dies and death.kind.search(argv[3]) else "nowhere"
            argv = (argv[0], "-m", "tests.crashing", point, after, argv[3])
        return inner(argv, *rest)

    put(processes, "detach", detach)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4], sys.argv[4:]))
