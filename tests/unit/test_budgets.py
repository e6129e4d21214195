"""Selection of suites by a budget: most information per cost first, never more than fits."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from llmops.domain.plans import Cost
from llmops.domain.resources import Key
from llmops.gates import budgets
from llmops.gates.budgets import Budget, SkippedSuite, SuiteCandidate
from llmops.specs.pricing import Price

EVALUATION = Key("Evaluation", "answers")


def candidate(suite: str, units: str, information: float | None = 0.5) -> SuiteCandidate:
    """Candidate whose units have names of one letter."""
    return SuiteCandidate(evaluation=EVALUATION, suite=suite, units=frozenset(units), information=information)


def prices(**seconds: float) -> dict[str, Price]:
    """Prices of units; a second costs a hundredth."""
    return {unit: Price(one, Cost(one / 100, "USD")) for unit, one in seconds.items()}


def names(candidates: tuple[SuiteCandidate | SkippedSuite, ...]) -> list[str]:
    return [one.suite for one in candidates]


def test_what_tells_most_for_its_time_comes_first() -> None:
    candidates = [candidate("slow", "a", 1.0), candidate("quick", "b", 0.2), candidate("dull", "c", 0.1)]
    assert names(budgets.rank(candidates, prices(a=100, b=10, c=50))) == ["quick", "slow", "dull"]


def test_suites_that_wait_for_the_same_training_share_its_cost() -> None:
    """Each of the two alone has less information per time than the third."""
    candidates = [candidate("maths", "ta", 0.4), candidate("prose", "tb", 0.4), candidate("other", "c", 0.4)]
    price = prices(t=100, a=1, b=1, c=60)
    assert names(budgets.rank(candidates, price)) == ["maths", "prose", "other"]
    assert names(budgets.rank([candidates[0], candidates[2]], price)) == ["other", "maths"]


def test_work_is_paid_once() -> None:
    candidates = [candidate("maths", "ta"), candidate("prose", "tb")]
    selection = budgets.select(candidates, prices(t=100, a=1, b=1), Budget(seconds=102))
    assert names(selection.selected) == ["maths", "prose"]
    assert selection.units == {"t", "a", "b"}


def test_the_first_that_does_not_fit_ends_it_and_each_says_what_reaches_it() -> None:
    candidates = [candidate("first", "a", 1.0), candidate("large", "b", 1.0), candidate("small", "c", 0.001)]
    selection = budgets.select(candidates, prices(a=10, b=100, c=5), Budget(seconds=50))
    assert names(selection.selected) == ["first"]
    assert [(one.suite, one.reached_by) for one in selection.skipped] == [
        ("large", Budget(seconds=110)),
        ("small", Budget(seconds=115)),
    ]
    assert selection.skipped[1].price == Price(5, Cost(0.05, "USD"))


def test_what_nobody_knows_to_tell_anything_comes_last_and_the_cheapest_of_it_first() -> None:
    candidates = [candidate("new", "a", None), candidate("newer", "b", None), candidate("old", "c", 0.01)]
    assert names(budgets.rank(candidates, prices(a=2, b=1, c=1000))) == ["old", "newer", "new"]


def test_what_has_no_estimate_is_reached_by_no_budget() -> None:
    selection = budgets.select([candidate("known", "a"), candidate("new", "ax")], prices(a=1), Budget(seconds=math.inf))
    assert names(selection.selected) == ["known"]
    assert selection.skipped == (SkippedSuite(evaluation=EVALUATION, suite="new"),)


def test_what_has_no_price_in_money_is_unknown_where_money_is_limited() -> None:
    price = prices(a=1) | {"b": Price(1, None)}
    candidates = [candidate("priced", "a"), candidate("not", "b")]
    assert names(budgets.select(candidates, price, Budget(money=100)).selected) == ["priced"]
    assert names(budgets.select(candidates, price, Budget(seconds=100)).selected) == ["not", "priced"]


def test_where_only_money_is_limited_it_is_what_counts() -> None:
    price = {"a": Price(100, Cost(0.1)), "b": Price(10, Cost(5.0))}
    candidates = [candidate("cpu", "a"), candidate("gpu", "b")]
    assert names(budgets.select(candidates, price, Budget(money=1)).selected) == ["cpu"]
    assert names(budgets.select(candidates, price, Budget(seconds=50)).selected) == ["gpu"]


# Laws

UNITS = "abcdef"
LISTS = st.lists(
    st.tuples(st.frozensets(st.sampled_from(UNITS), min_size=1), st.none() | st.floats(0, 1)), max_size=6
).map(lambda found: [candidate(f"s{n}", "".join(sorted(units)), tells) for n, (units, tells) in enumerate(found)])
PRICES = st.dictionaries(st.sampled_from(UNITS), st.floats(0, 1000), max_size=6).map(lambda found: prices(**found))
LIMITS = st.builds(Budget, seconds=st.none() | st.floats(0, 3000), money=st.none() | st.floats(0, 30))


@given(LISTS, PRICES, LIMITS)
def test_it_never_goes_over_the_budget(
    candidates: list[SuiteCandidate], price: dict[str, Price], limit: Budget
) -> None:
    units = budgets.select(candidates, price, limit).units
    assert units <= price.keys()
    if limit.seconds is not None:
        assert math.fsum(price[unit].seconds for unit in units) <= limit.seconds
    if limit.money is not None:
        assert math.fsum(price[unit].seconds / 100 for unit in units) <= limit.money


@given(LISTS, PRICES, LIMITS, st.floats(1, 10), st.floats(1, 10))
def test_a_larger_budget_runs_all_that_a_smaller_one_does(
    candidates: list[SuiteCandidate], price: dict[str, Price], limit: Budget, longer: float, dearer: float
) -> None:
    larger = Budget(
        seconds=None if limit.seconds is None else limit.seconds * longer,
        money=None if limit.money is None else limit.money * dearer,
    )
    less, more = budgets.select(candidates, price, limit), budgets.select(candidates, price, larger)
    assert more.selected[: len(less.selected)] == less.selected


@given(LISTS, PRICES, LIMITS)
def test_the_budget_that_is_said_to_reach_a_suite_does(
    candidates: list[SuiteCandidate], price: dict[str, Price], limit: Budget
) -> None:
    for one in budgets.select(candidates, price, limit).skipped:
        if one.reached_by is not None:
            assert one.suite in names(budgets.select(candidates, price, one.reached_by).selected)


@given(LISTS, PRICES, LIMITS, st.randoms())
def test_nothing_is_lost_and_the_order_of_the_offers_does_not_matter(
    candidates: list[SuiteCandidate],
    price: dict[str, Price],
    limit: Budget,
    random: object,
) -> None:
    selection = budgets.select(candidates, price, limit)
    assert sorted([*names(selection.selected), *names(selection.skipped)]) == sorted(names(tuple(candidates)))
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert budgets.select(shuffled, price, limit) == selection
