"""What gc keeps for orders and intents that are open."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.orders import Order, Previous
from llmops.domain.records import Intent
from llmops.domain.resources import Key
from llmops.host import file_locks
from llmops.ledger import ledger
from tests.conftest import Shell
from tests.maintenance import files_of, fsck, gc, outcome, stored

pytestmark = pytest.mark.usefixtures("plugins")


def order_of(shell: Shell, dish: str, revision: str) -> Path:
    return shell.repo.workspace().work / f"dish-{dish}-{outcome(shell, Key('Dish', dish), revision).unit[:12]}"


def test_orders_that_ended_and_that_nobody_needs_go_and_the_others_stay(changed: Shell) -> None:
    there = set(changed.repo.workspace().work.glob("dish-*"))
    old = {order_of(changed, dish, "HEAD~1") for dish in ("dough", "bread")}

    found = gc(changed, "--prune")

    assert {one["name"] for one in found["folders"]} == {path.name for path in old}
    assert set(changed.repo.workspace().work.glob("dish-*")) == there - old


def test_an_order_that_a_process_does_is_never_removed(changed: Shell) -> None:
    busy = order_of(changed, "bread", "HEAD~1")
    (busy / orders.OUTCOME).unlink()
    held = file_locks.take(busy / orders.LOCK)
    assert held is not None

    with held:
        found = gc(changed, "--prune")

    assert busy.name not in {one["name"] for one in found["folders"]}
    assert busy.exists()


def intend(shell: Shell, intent: Intent) -> None:
    ledger.transact(
        shell.repo.ledger(), lambda state: replace(state, intents={intent.name: intent}), f"intent: {intent.name}"
    )


def intent(shell: Shell, name: str, at: float, unit: str = "0" * 64, commit: str = "HEAD") -> Intent:
    said = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    key = Key("Dish", "bread")
    commit = shell.repo.git("rev-parse", commit)
    return Intent(name=name, keys=(key,), units=(unit,), purpose="gate", commit=commit, at=said)


def test_what_an_open_order_reads_is_kept(changed: Shell) -> None:
    folder = order_of(changed, "bread", "HEAD~1")
    reads = files_of(changed, outcome(changed, Key("Dish", "dough"), "HEAD~1"))
    intend(changed, intent(changed, folder.name, time.time()))

    found = gc(changed, "--prune")

    assert reads <= stored(changed).keys()
    assert folder.exists()
    assert f"order {folder.name} is open" in {one["what"] for one in found["kept"]}


def test_what_an_open_order_goes_on_from_is_kept(changed: Shell) -> None:
    """Evidence of another commit, of which a judge's rulings hold still, and evidence that grows."""
    folder = order_of(changed, "bread", "HEAD")
    earlier, grown = (outcome(changed, Key("Dish", dish), "HEAD~1") for dish in ("dough", "bread"))
    order = msgspec.json.decode((folder / orders.ORDER).read_bytes(), type=Order)
    job = replace(order.jobs[0], alike=(earlier.outputs,), previous=Previous(outputs=grown.outputs))
    (folder / orders.ORDER).write_bytes(orders.encode(replace(order, jobs=(job,))))
    intend(changed, intent(changed, folder.name, time.time()))

    gc(changed, "--prune")

    assert files_of(changed, earlier) | files_of(changed, grown) <= stored(changed).keys()


def test_an_open_order_of_another_machine_keeps_what_its_commit_declares(changed: Shell) -> None:
    reads = files_of(changed, outcome(changed, Key("Dish", "dough"), "HEAD~1"))
    intend(changed, intent(changed, "dish-cake-0123456789ab", time.time(), commit="HEAD~1"))

    gc(changed, "--prune")

    assert reads <= stored(changed).keys()


def test_an_intent_that_nobody_will_take_up_again_keeps_nothing_and_is_forgotten(kitchen: Shell) -> None:
    done = outcome(kitchen, Key("Dish", "bread")).unit
    intend(kitchen, intent(kitchen, "dish-bread-0123456789ab", time.time(), done))
    assert "stale" in fsck(kitchen)["findings"][0]["what"]

    assert gc(kitchen, "--prune")["intents"] == {"local": ["dish-bread-0123456789ab"]}

    state = kitchen.state()
    assert (state.intents, state.lease) == ({}, None)
