"""An order has a deadline: what does not end is stopped, and the report names it and what to change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmops.domain import orders
from llmops.domain.orders import OrderReport
from llmops.domain.problems import Exit
from llmops.execution import deadlines, dispatch
from llmops.execution.deadlines import OrderLimits
from llmops.host import file_locks
from llmops.steps import __main__ as steps
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")


def begin(repo: Repo, llmops: Shell, runner: str) -> None:
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec:\n  runner: {{{runner}}}\n"
    repo.commit({"llmops.yaml": settings, "specs/stew.yaml": spec("Dish", "stew", "{text: stew, seconds: 600}")})
    assert llmops("init") == Exit.WELL


def is_running(repo: Repo) -> bool:
    locks = (repo.folder / ".git" / "llmops" / "work").glob(f"*/{orders.LOCK}")
    return any(file_locks.holder(lock) for lock in locks)


@pytest.mark.timeout(90)
def test_an_order_over_its_deadline_is_stopped(repo: Repo, llmops: Shell) -> None:
    begin(repo, llmops, "deadline: 4s")

    assert llmops("apply") == Exit.FAULT
    assert "Dish/stew: it ran for over 4s (runner.deadline of llmops.yaml), and was stopped. " in llmops.err
    wait_for(lambda: not is_running(repo), seconds=10)


@pytest.mark.timeout(120)
def test_an_order_without_a_run_ends_itself(repo: Repo, llmops: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "overdue", lambda *_: "")  # as if the run had gone away
    begin(repo, llmops, "deadline: 1s")

    started = time.monotonic()
    assert llmops("apply") == Exit.FAULT

    assert time.monotonic() - started > steps.GRACE_SECONDS
    assert "it ran for over 1s (runner.deadline of llmops.yaml)" in llmops.err
    wait_for(lambda: not is_running(repo), seconds=10)


def test_a_sign_of_work_is_progress_or_a_line_of_the_log(tmp_path: Path) -> None:
    limits = OrderLimits(idle="10s")
    now = time.time()
    assert deadlines.overdue(limits, tmp_path, now - 5, now) == ""
    assert "runner.idle" in deadlines.overdue(limits, tmp_path, now - 20, now)

    (tmp_path / orders.LOG).write_text("a line")

    assert deadlines.overdue(limits, tmp_path, now - 20, now) == ""
    assert deadlines.overdue(OrderLimits(), tmp_path, now - 80_000, now) == ""
    assert "over 24h" in deadlines.overdue(OrderLimits(), tmp_path, now - 90_000, now)


def test_the_report_of_an_order_that_ended_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / orders.OUTCOME).write_bytes(orders.encode(OrderReport("its own")))

    class Runner:
        def stop(self, folder: Path) -> None:
            pass

        def look(self, folder: Path) -> deadlines.OrderState:
            return deadlines.OrderState.ENDED

    deadlines.stop(Runner(), tmp_path, "late", ())  # type: ignore[arg-type]

    assert dispatch.report(tmp_path) == OrderReport("its own")
