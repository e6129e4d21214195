"""The tables of docs/gates.md: they show the simulation, and the simulation uses the gates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import gates as bench
from benchmarks import simulation
from benchmarks.simulation import Row
from llmops.domain.plans import Verdict
from llmops.kinds.evaluation.spec import Gate
from llmops.statistics import sign_flip
from llmops.statistics.sign_flip import Cluster

KEPT = bench.read()


def kept(part: str, gate: str, items: int, discordance: float) -> Row:
    (found,) = (
        row
        for row in KEPT
        if (row.part, row.items, row.discordance) == (part, items, discordance) and row.gate.startswith(gate)
    )
    return found


def test_the_page_says_what_was_simulated() -> None:
    text = bench.PAGE.read_text()

    assert bench.page(KEPT, text) == text
    assert all(bench.table(KEPT, part) in text for part in bench.PARTS)


def test_every_bar_is_met() -> None:
    barred = [row for row in KEPT if row.bar]

    assert [row for row in barred if not row.met] == []
    assert {row.part for row in barred} == {"rules", "families", "sequential"}
    assert len(barred) >= 4 * 3 * 2


@pytest.mark.parametrize("units", [3, 13, 14, 150])
def test_signs_are_turned_for_many_at_once_as_for_one(units: int) -> None:
    source = np.random.default_rng(units)
    differences = np.where(source.random((20, units)) < 0.7, source.normal(-0.2, 1, (20, units)), 0.0).round(1)

    found = simulation.chances(differences, at_once=7)

    expected = [sign_flip.test([Cluster(float(one)) for one in row]).p_worse for row in differences]
    assert found == pytest.approx(expected)


def test_the_table_is_found_again_with_other_draws() -> None:
    """Shares of 2,000 new pairs of runs agree with the table within sampling error."""
    gate, source, amount = Gate(rule="non_inferiority", margin=simulation.MARGIN), np.random.default_rng(9), 2000
    row = kept("rules", "non_inferiority", 200, 0.06)

    unchanged = simulation.shares(gate, simulation.draw(source, amount, 200, 0.06, 0.0))
    worse = simulation.shares(gate, simulation.draw(source, amount, 200, 0.06, simulation.DROP))

    for found, share in (
        (unchanged[Verdict.FAIL], row.unchanged_fail),
        (unchanged[Verdict.PASS], row.unchanged_pass),
        (worse[Verdict.FAIL], row.worse_fail),
    ):
        assert share is not None
        assert abs(found - share) <= 4.5 * math.sqrt(share * (1 - share) / amount)


def test_so_is_how_soon_the_sequential_gate_decides() -> None:
    gate = Gate(rule="non_inferiority", margin=simulation.MARGIN)
    row = kept("sequential", "non_inferiority", simulation.LONG, 0.06)

    shares, used = simulation.stopped(np.random.default_rng(10), 500, gate, 0.06, 0.0)

    assert row.used == pytest.approx(used, abs=0.04)
    assert row.unchanged_pass == pytest.approx(shares[Verdict.PASS], abs=0.04)


def test_the_sequential_gate_keeps_its_errors_when_it_looks_after_every_item() -> None:
    """Each of 400 pull requests is worse by exactly the margin, and is judged 150 times, from the first item on."""
    source, gate, passed = np.random.default_rng(11), Gate(rule="non_inferiority", margin=0.03), 0
    for _ in range(400):
        worse = better = 0
        for seen, move in enumerate(source.choice([-1, 0, 1], 150, p=[0.09, 0.85, 0.06]).tolist(), start=1):
            worse, better = worse + (move < 0), better + (move > 0)
            if simulation.look(gate, seen, worse, better) is Verdict.PASS:
                passed += 1
                break

    assert passed / 400 <= 0.05
