"""Ends orders that run for too long, or that show no sign of work.

The process of an order also watches its deadline (`llmops.steps`), because no run may be there to end it.

Effects: reads the folders of orders, stops orders, writes their reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from llmops.domain import orders
from llmops.domain.orders import OrderReport
from llmops.domain.plans import BuildAction
from llmops.execution import dispatch
from llmops.host import disk
from llmops.plugins.fields import Duration, seconds
from llmops.plugins.runner import Orders, OrderState
from llmops.specs.settings import RunnerSettings

MOST_NAMED = 3
"""Units of an order that a message names."""


class OrderLimits(Struct, frozen=True, kw_only=True):
    """Limits of every order; they are settings, and in no digest."""

    deadline: Duration = RunnerSettings().deadline
    idle: Duration | None = None


def limits(settings: RunnerSettings) -> OrderLimits:
    return OrderLimits(deadline=settings.deadline, idle=settings.idle)


def overdue(limits: OrderLimits, folder: Path, started: float, now: float) -> str:
    """Reason why an order is to be ended, or ''; ``started`` and ``now`` are seconds since the epoch."""
    if now - started > seconds(limits.deadline):
        return orders.over_deadline(limits.deadline)
    if limits.idle is not None and now - max(started, *_signs(folder)) > seconds(limits.idle):
        return (
            f"it reported nothing and wrote no log for {limits.idle} (runner.idle of llmops.yaml), and was stopped. "
            "Raise runner.idle, or find what waits"
        )
    return ""


def _signs(folder: Path) -> Iterable[float]:
    """Times of the last progress and of the last line of the log."""
    return tuple(
        path.stat().st_mtime if (path := folder / name).exists() else 0.0 for name in (orders.PROGRESS, orders.LOG)
    )


def stop(runner: Orders, folder: Path, why: str, actions: Sequence[BuildAction]) -> None:
    """Stop an order and all its processes, and report why, unless it ended meanwhile."""
    runner.stop(folder)
    if runner.look(folder) is OrderState.ENDED:
        return
    pending = [action for action in actions if not dispatch.result(folder, action.unit)]
    names = [f"{action.key} {action.label}".strip() for action in pending]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    error = f"{', '.join(names[:MOST_NAMED])}{more}: {why}. The log: {folder / orders.LOG}"
    disk.write(folder / orders.OUTCOME, orders.encode(OrderReport(error)))
