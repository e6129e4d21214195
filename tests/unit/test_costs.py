"""What time on devices costs, and where that is shown."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain.plans import Cost
from llmops.domain.problems import Exit
from llmops.kinds import KINDS
from llmops.reports.formats.gate import REPORTS
from llmops.specs import pricing
from llmops.specs.settings import Settings
from tests.answers import GOOD, answered, retrained
from tests.conftest import Shell
from tests.reports import RUN, SAME, gated, report
from tests.repos import Repo
from tests.trees import system

PRICES = Settings(hourly_cost={"cpu": 0.05, "cuda": 2.5}, currency="USD")


@pytest.mark.parametrize(
    ("devices", "seconds", "cost"),
    [({"cpu": 1}, 7200, 0.1), ({"cuda": 1}, 1800, 1.25), ({"cuda": 4}, 3600, 10.0), ({"cpu": 1}, 0, 0.0)],
)
def test_time_costs_what_an_hour_of_each_device_costs(devices: dict[str, float], seconds: float, cost: float) -> None:
    assert pricing.of(seconds, devices, PRICES) == Cost(pytest.approx(cost), "USD")


def test_what_has_no_price_is_unknown_and_not_free() -> None:
    assert pricing.of(60, {"cuda": 1}, Settings(hourly_cost={"cpu": 0.05})) is None
    assert pricing.of(60, {"cpu": 1}, Settings()) is None


def test_a_sum_with_something_unknown_is_unknown() -> None:
    assert pricing.total([Cost(1, "USD"), Cost(2.5, "USD")]) == Cost(3.5, "USD")
    assert pricing.total([Cost(1, "USD"), None]) is None
    assert pricing.total([]) is None


@pytest.mark.parametrize(
    ("cost", "words"), [(Cost(1.239, "USD"), "1.24 USD"), (Cost(0.001), "< 0.01"), (Cost(0, "EUR"), "0.00 EUR")]
)
def test_money_is_written_in_cents(cost: Cost, words: str) -> None:
    assert str(cost) == words


def body(kind: str, spec: dict[str, object]) -> object:
    return msgspec.convert(spec, KINDS[kind].body)


def test_a_kind_says_which_devices_it_keeps_busy() -> None:
    training = {"task": "sft", "base": "small", "datasets": [{"name": "rows"}]}
    evaluation = {"subject": {"model": "small"}, "suites": [{"task": "x"}]}
    workers = training | {"resources": {"workers": 2, "gpus": 4}}
    assert KINDS["Training"].devices(body("Training", training)) == {"cpu": 1}
    assert KINDS["Training"].devices(body("Training", workers)) == {"cuda": 8}
    assert KINDS["Evaluation"].devices(body("Evaluation", evaluation)) == {"cpu": 1}
    assert KINDS["Evaluation"].devices(body("Evaluation", evaluation | {"device": "cuda:1"})) == {"cuda": 1}
    assert KINDS["Dataset"].devices(None) == {"cpu": 1}


def test_every_report_of_a_gate_says_what_it_cost_and_what_was_spared() -> None:
    spared = replace(report("sums", SAME), seconds=240.0, cost=Cost(0.12, "USD"), reused=True)
    found = replace(gated(spared), seconds=300.0, cost=Cost(0.25, "USD"))

    text, comment, fields = (REPORTS[form](found, RUN) for form in ("text", "md", "json"))

    assert "built: 3 results in 5 min, 0.25 USD" in text
    assert "all evidence is reused (4 min, 0.12 USD saved)" in text
    assert "**Cost:** 3 results built in 2 min, 0.25 USD." in comment
    assert msgspec.json.decode(fields)["cost"] == {"amount": 0.25, "currency": "USD"}


SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {hourly_cost: {cpu: 3600}, currency: EUR}\n"
"""A second of a processor is one euro."""


def test_a_plan_says_what_it_is_expected_to_cost(repo: Repo, llmops: Shell) -> None:
    llmops.begin(dict(system()) | {"llmops.yaml": SETTINGS})
    answered(repo, "HEAD", {"acc": GOOD})
    retrained(repo)

    assert llmops("plan") == Exit.WELL
    assert "about 1.0 s, 1.00 EUR" in llmops.out
    assert "About 4.0 s, 4.00 EUR." in llmops.out
    assert set(map(str, llmops.json("plan")["costs"].values())) == {"{'amount': 1.0, 'currency': 'EUR'}"}


def test_a_gate_says_what_its_evidence_cost_by_the_prices_of_the_base(repo: Repo, llmops: Shell) -> None:
    llmops.begin(dict(system()) | {"llmops.yaml": SETTINGS})
    answered(repo, "HEAD", {"acc": GOOD})
    repo.edit("llmops.yaml", "cpu: 3600", "cpu: 0")
    retrained(repo)
    answered(repo, "HEAD", {"acc": GOOD})

    found = llmops.json("gate", "--base", "HEAD~1")
    assert [one["cost"] for one in found["reports"]] == [{"amount": 2.0, "currency": "EUR"}] * 2
    assert found["cost"] is None


def test_a_device_that_nobody_knows_is_a_problem(repo: Repo, llmops: Shell) -> None:
    repo.commit({"llmops.yaml": SETTINGS.replace("cpu", "gpu")})
    assert llmops("check") == Exit.NO
    assert "gpu" in llmops.err
