"""Which suites a budget reaches: what tells most for its cost, and never more than fits."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from llmops.domain.plans import Cost
from llmops.domain.resources import Key
from llmops.gates import budgets
from llmops.gates.budgets import Budget, Price, SkippedSuite, SuiteCandidate

EVALUATION = Key("Evaluation", "answers")


def offer(suite: str, units: str, information: float | None = 0.5) -> SuiteCandidate:
    """Offer a suite; its units have names of one letter."""
    return SuiteCandidate(evaluation=EVALUATION, suite=suite, units=frozenset(units), information=information)


def prices(**seconds: float) -> dict[str, Price]:
    """Give what units take; a second costs a hundredth."""
    return {unit: Price(one, Cost(one / 100, "USD")) for unit, one in seconds.items()}


def names(offers: tuple[SuiteCandidate | SkippedSuite, ...]) -> list[str]:
    return [one.suite for one in offers]


def test_what_tells_most_for_its_time_comes_first() -> None:
    offers = [offer("slow", "a", 1.0), offer("quick", "b", 0.2), offer("dull", "c", 0.1)]
    assert names(budgets.rank(offers, prices(a=100, b=10, c=50))) == ["quick", "slow", "dull"]


def test_suites_that_wait_for_the_same_training_share_its_cost() -> None:
    """Alone, either of the two would tell less for its time than the third."""
    offers = [offer("maths", "ta", 0.4), offer("prose", "tb", 0.4), offer("other", "c", 0.4)]
    price = prices(t=100, a=1, b=1, c=60)
    assert names(budgets.rank(offers, price)) == ["maths", "prose", "other"]
    assert names(budgets.rank([offers[0], offers[2]], price)) == ["other", "maths"]


def test_work_is_paid_once() -> None:
    offers = [offer("maths", "ta"), offer("prose", "tb")]
    choice = budgets.select(offers, prices(t=100, a=1, b=1), Budget(seconds=102))
    assert names(choice.selected) == ["maths", "prose"]
    assert choice.units == {"t", "a", "b"}


def test_the_first_that_does_not_fit_ends_it_and_each_says_what_reaches_it() -> None:
    offers = [offer("first", "a", 1.0), offer("large", "b", 1.0), offer("small", "c", 0.001)]
    choice = budgets.select(offers, prices(a=10, b=100, c=5), Budget(seconds=50))
    assert names(choice.selected) == ["first"]
    assert [(one.suite, one.reached_by) for one in choice.skipped] == [
        ("large", Budget(seconds=110)),
        ("small", Budget(seconds=115)),
    ]
    assert choice.skipped[1].price == Price(5, Cost(0.05, "USD"))


def test_what_nobody_knows_to_tell_anything_comes_last_and_the_cheapest_of_it_first() -> None:
    offers = [offer("new", "a", None), offer("newer", "b", None), offer("old", "c", 0.01)]
    assert names(budgets.rank(offers, prices(a=2, b=1, c=1000))) == ["old", "newer", "new"]


def test_what_has_no_estimate_is_reached_by_no_budget() -> None:
    choice = budgets.select([offer("known", "a"), offer("new", "ax")], prices(a=1), Budget(seconds=math.inf))
    assert names(choice.selected) == ["known"]
    assert choice.skipped == (SkippedSuite(evaluation=EVALUATION, suite="new"),)


def test_what_has_no_price_in_money_is_unknown_where_money_is_limited() -> None:
    price = prices(a=1) | {"b": Price(1, None)}
    offers = [offer("priced", "a"), offer("not", "b")]
    assert names(budgets.select(offers, price, Budget(money=100)).selected) == ["priced"]
    assert names(budgets.select(offers, price, Budget(seconds=100)).selected) == ["not", "priced"]


def test_where_only_money_is_limited_it_is_what_counts() -> None:
    price = {"a": Price(100, Cost(0.1)), "b": Price(10, Cost(5.0))}
    offers = [offer("cpu", "a"), offer("gpu", "b")]
    assert names(budgets.select(offers, price, Budget(money=1)).selected) == ["cpu"]
    assert names(budgets.select(offers, price, Budget(seconds=50)).selected) == ["gpu"]


# Laws

UNITS = "abcdef"
LISTS = st.lists(
    st.tuples(st.frozensets(st.sampled_from(UNITS), min_size=1), st.none() | st.floats(0, 1)), max_size=6
).map(lambda found: [offer(f"s{n}", "".join(sorted(units)), tells) for n, (units, tells) in enumerate(found)])
PRICES = st.dictionaries(st.sampled_from(UNITS), st.floats(0, 1000), max_size=6).map(lambda found: prices(**found))
LIMITS = st.builds(Budget, seconds=st.none() | st.floats(0, 3000), money=st.none() | st.floats(0, 30))


@given(LISTS, PRICES, LIMITS)
def test_it_never_goes_over_the_budget(offers: list[SuiteCandidate], price: dict[str, Price], limit: Budget) -> None:
    units = budgets.select(offers, price, limit).units
    assert units <= price.keys()
    if limit.seconds is not None:
        assert math.fsum(price[unit].seconds for unit in units) <= limit.seconds
    if limit.money is not None:
        assert math.fsum(price[unit].seconds / 100 for unit in units) <= limit.money


@given(LISTS, PRICES, LIMITS, st.floats(1, 10), st.floats(1, 10))
def test_a_larger_budget_runs_all_that_a_smaller_one_does(
    offers: list[SuiteCandidate], price: dict[str, Price], limit: Budget, longer: float, dearer: float
) -> None:
    larger = Budget(
        seconds=None if limit.seconds is None else limit.seconds * longer,
        money=None if limit.money is None else limit.money * dearer,
    )
    less, more = budgets.select(offers, price, limit), budgets.select(offers, price, larger)
    assert more.selected[: len(less.selected)] == less.selected


@given(LISTS, PRICES, LIMITS)
def test_the_budget_that_is_said_to_reach_a_suite_does(
    offers: list[SuiteCandidate], price: dict[str, Price], limit: Budget
) -> None:
    for one in budgets.select(offers, price, limit).skipped:
        if one.reached_by is not None:
            assert one.suite in names(budgets.select(offers, price, one.reached_by).selected)


@given(LISTS, PRICES, LIMITS, st.randoms())
def test_nothing_is_lost_and_the_order_of_the_offers_does_not_matter(
    offers: list[SuiteCandidate],
    price: dict[str, Price],
    limit: Budget,
    random: object,
) -> None:
    choice = budgets.select(offers, price, limit)
    assert sorted([*names(choice.selected), *names(choice.skipped)]) == sorted(names(tuple(offers)))
    shuffled = list(offers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert budgets.select(shuffled, price, limit) == choice
