"""far: a runner for tests that does not see the folder of an order, as a machine of a cluster does not.

Effects: starts and ends processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from llmops.domain import orders
from llmops.domain.orders import Order
from llmops.plugins.fields import Body, about
from llmops.plugins.runner import OrderRef, OrderState
from llmops.store import blobs, mailbox


class Config(Body, frozen=True, kw_only=True):
    """Where it works."""

    scratch: Annotated[str, about("A folder that the machine which orders does not look into.")]


class Far:
    """A machine that is reached through the store."""

    config = Config

    def open(self, config: Config, _work: Path) -> FarOrders:
        return FarOrders(Path(config.scratch))


class FarOrders:
    """Processes with a folder of their own."""

    cluster = False

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, order: OrderRef) -> None:
        mailbox.replace(blobs.open_at(order.store), order.folder)
        place = ("--scratch", str(self._scratch), "--store", order.store)
        argv = (sys.executable, "-m", "llmops.steps", *place, order.digest, order.name)
        self._running[order.name] = subprocess.Popen(argv, env=os.environ.copy(), cwd="/")

    def look(self, folder: Path) -> OrderState:
        process = self._running.get(folder.name)
        is_over = process is not None and process.poll() is not None
        if (folder / orders.ORDER).exists():
            order = msgspec.json.decode((folder / orders.ORDER).read_bytes(), type=Order)
            mailbox.pull(blobs.open_at(order.store), folder)
        if (folder / orders.OUTCOME).exists():
            if process:
                process.wait()
            return OrderState.ENDED
        if process is None:
            return OrderState.ABSENT
        return OrderState.LOST if is_over else OrderState.RUNNING

    def stop(self, folder: Path) -> None:
        if process := self._running.get(folder.name):
            process.terminate()
            process.wait()

    def logs(self, folder: Path) -> Iterator[str]:
        return iter(())


RUNNER = Far()
