"""Verdicts of each rule."""

import gc
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from llmops.domain.plans import Verdict
from llmops.gates import judge
from llmops.gates.judge import GateCase
from llmops.kinds.evaluation.spec import Gate
from llmops.statistics import betting, binomial, paired_tests
from llmops.statistics.paired_tests import Scores


def scores(*values: float | None) -> dict[str, float | None]:
    return {str(number): value for number, value in enumerate(values)}


def flipped(ones: int, zeros: int, worse: int, better: int) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Scores of 0 and 1 of (head, base), with so many items that got worse and better."""
    base = [1.0] * (ones + worse) + [0.0] * (zeros + better)
    head = [1.0] * ones + [0.0] * worse + [0.0] * zeros + [1.0] * better
    return scores(*head), scores(*base)


def judge_lower(gate: Gate, head: Scores, base: Scores | None) -> judge.Judgement:
    (judgement,) = judge.judge_together([GateCase(gate=gate, head=head, base=base, lower_is_better=True)])
    return judgement


@pytest.mark.parametrize(("wrong", "verdict"), [(5, Verdict.PASS), (20, Verdict.INCONCLUSIVE), (60, Verdict.FAIL)])
def test_where_lower_is_better_a_minimum_is_a_ceiling(wrong: int, verdict: Verdict) -> None:
    head = scores(*[1.0] * wrong, *[0.0] * (100 - wrong))

    judgement = judge_lower(Gate(rule="minimum", value=0.2), head, None)

    assert judgement.verdict is verdict
    assert judgement.head == pytest.approx(wrong / 100)
    assert (judgement.low, judgement.high) == pytest.approx(binomial.wilson_bounds(wrong, 100, 0.05))


@pytest.mark.parametrize(
    ("items", "verdict"), [(1, Verdict.INCONCLUSIVE), (28, Verdict.INCONCLUSIVE), (29, Verdict.PASS)]
)
def test_where_lower_is_better_no_error_in_a_few_items_is_not_below_a_ceiling(items: int, verdict: Verdict) -> None:
    judgement = judge_lower(Gate(rule="minimum", value=0.1), scores(*[0.0] * items), None)

    assert judgement.verdict is verdict
    assert (judgement.low, judgement.high) == pytest.approx((0.0, binomial.rule_of_three(items, 0.05)))


def test_where_lower_is_better_a_rise_is_worse_and_is_shown_as_a_rise() -> None:
    head, base = scores(*[0.9] * 50, *[0.1] * 50), scores(*[0.1] * 100)

    judgement = judge_lower(Gate(), head, base)

    assert judgement.verdict is Verdict.FAIL
    assert (judgement.head, judgement.base, judgement.delta) == pytest.approx((0.5, 0.1, 0.4))
    assert judgement.low is not None
    assert judgement.high is not None
    assert judgement.low < 0.4 < judgement.high
    assert (judgement.worse, judgement.better) == (50, 0)


def test_no_regression_fails_only_on_evidence_of_worse() -> None:
    head, base = flipped(140, 50, worse=10, better=0)

    judgement = judge.judge(Gate(), head, base)

    assert judgement.verdict is Verdict.FAIL
    assert (judgement.worse, judgement.better, judgement.items) == (10, 0, 200)
    assert judgement.p == pytest.approx(0.5**10)
    assert judgement.delta == pytest.approx(-0.05)


def test_no_regression_passes_when_a_drop_would_have_been_seen() -> None:
    head, base = flipped(140, 56, worse=2, better=2)

    judgement = judge.judge(Gate(detect=0.05), head, base)

    assert judgement.verdict is Verdict.PASS
    assert judgement.detectable is not None
    assert judgement.detectable <= 0.05


def test_too_few_items_are_inconclusive_not_green() -> None:
    head, base = flipped(7, 3, worse=0, better=0)

    judgement = judge.judge(Gate(detect=0.05), head, base)

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "too few items" in judgement.note


def test_what_was_left_out_is_said_beside_the_reason_why_nothing_is_decided() -> None:
    head = {str(n): 1.0 for n in range(10)}
    judgement = judge.judge(Gate(), head, head | {"gone": 1.0})
    assert "too few items" in judgement.note
    assert "items only in head or only in base were left out: 1" in judgement.note


def test_a_large_improvement_is_no_noise_that_could_hide_a_drop() -> None:
    head, base = flipped(120, 40, worse=2, better=38)

    judgement = judge.judge(Gate(detect=0.05), head, base)

    assert judgement.verdict is Verdict.PASS
    assert (judgement.detectable or 0) > 0.05


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [(0.9, Verdict.PASS), (0.5, Verdict.FAIL), (0.72, Verdict.INCONCLUSIVE), (0.68, Verdict.INCONCLUSIVE)],
)
def test_a_minimum_is_judged_by_bounds_not_by_the_point(rate: float, verdict: Verdict) -> None:
    ones = round(rate * 100)
    head = scores(*[1.0] * ones, *[0.0] * (100 - ones))

    assert judge.judge(Gate(rule="minimum", value=0.7), head, None).verdict is verdict


@pytest.mark.parametrize(
    ("worse", "better", "verdict"),
    [(2, 2, Verdict.PASS), (25, 2, Verdict.FAIL), (9, 6, Verdict.INCONCLUSIVE)],
)
def test_non_inferiority_looks_at_the_margin(worse: int, better: int, verdict: Verdict) -> None:
    head, base = flipped(100, 60, worse, better)

    assert judge.judge(Gate(rule="non_inferiority", margin=0.03), head, base).verdict is verdict


@pytest.mark.parametrize(
    ("worse", "better", "verdict"), [(2, 20, Verdict.PASS), (20, 2, Verdict.FAIL), (5, 5, Verdict.INCONCLUSIVE)]
)
def test_superiority_needs_to_be_shown(worse: int, better: int, verdict: Verdict) -> None:
    head, base = flipped(100, 60, worse, better)

    assert judge.judge(Gate(rule="superiority"), head, base).verdict is verdict


@pytest.mark.parametrize("rule", ["no_regression", "minimum", "non_inferiority", "superiority"])
@pytest.mark.parametrize(
    ("head", "base"),
    [
        (scores(), scores(1.0)),
        (scores(1.0, None), scores(1.0, 1.0)),
        (scores(1.0, math.nan), scores(1.0, 1.0)),
    ],
)
def test_no_evidence_and_no_numbers_are_never_a_pass(rule: str, head: Scores, base: Scores) -> None:
    gate = Gate(rule=rule, value=0.0, margin=0.5)  # type: ignore[arg-type]

    assert judge.judge(gate, head, base).verdict is Verdict.INCONCLUSIVE


def test_base_scores_that_are_not_numbers_are_not_a_pass_either() -> None:
    assert judge.judge(Gate(), scores(1.0, 1.0), scores(1.0, None)).verdict is Verdict.INCONCLUSIVE


def test_runs_that_share_no_item_cannot_be_compared() -> None:
    judgement = judge.judge(Gate(), {"a": 1.0}, {"b": 1.0})

    assert (judgement.verdict, judgement.note) == (Verdict.INCONCLUSIVE, "head and base have no item in common")


def test_items_are_paired_by_id_whatever_their_order() -> None:
    head, base = flipped(100, 50, worse=8, better=1)
    turned = dict(reversed(list(head.items())))

    assert judge.judge(Gate(), turned, base) == judge.judge(Gate(), head, base)


def test_a_first_revision_is_no_regression_and_says_so() -> None:
    judgement = judge.judge(Gate(), scores(1.0, 0.0), None)

    assert judgement.verdict is Verdict.PASS
    assert "no base" in judgement.note
    assert judge.judge(Gate(rule="superiority"), scores(1.0, 0.0), None).verdict is Verdict.INCONCLUSIVE


def test_other_scores_than_zero_and_one_are_judged_too() -> None:
    source = random.Random(2)
    base = {str(n): source.random() for n in range(300)}
    worse = {one: score - 0.1 * source.random() for one, score in base.items()}

    assert judge.judge(Gate(), worse, base).verdict is Verdict.FAIL
    assert judge.judge(Gate(), base, base).verdict is Verdict.PASS


# Families


def suite(worse: int, better: int, gate: Gate = Gate()) -> GateCase:
    """Suite of 400 items, of which so many got worse and better."""
    head, base = flipped(280 - worse, 120 - better, worse, better)
    return GateCase(gate=gate, head=head, base=base)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_p_values_are_those_of_statsmodels(chances: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)  # statsmodels collects garbage at every call
        expected = multipletests(chances, method="holm")[1]

    assert paired_tests.holm(chances) == pytest.approx(tuple(expected))


def test_one_of_many_suites_that_looks_worse_by_chance_does_not_fail_the_change() -> None:
    alone = judge.judge_together([suite(7, 1)])
    among = judge.judge_together([suite(7, 1), *[suite(4, 4)] * 9])

    assert alone[0].verdict is Verdict.FAIL
    assert [one.verdict for one in among] == [Verdict.PASS] * 10
    assert among[0].p == alone[0].p
    assert among[0].p_adjusted == pytest.approx(10 * (alone[0].p or 0))


def test_a_drop_has_to_be_visible_to_the_strictest_test_of_the_family() -> None:
    (alone,) = judge.judge_together([suite(14, 8, Gate(detect=0.0335))])
    among = judge.judge_together([suite(14, 8, Gate(detect=0.0335))] * 20)

    assert alone.verdict is Verdict.PASS
    assert {one.verdict for one in among} == {Verdict.INCONCLUSIVE}
    assert (among[0].detectable or 0) > (alone.detectable or 0)


def test_a_suite_that_is_much_worse_fails_whatever_stands_beside_it() -> None:
    judgement = judge.judge_together([*[suite(4, 4)] * 20, suite(30, 1)])

    assert judgement[-1].verdict is Verdict.FAIL


def test_a_suite_without_evidence_makes_no_family_larger() -> None:
    silent = GateCase(gate=Gate(), head={}, base={})

    judgement = judge.judge_together([suite(7, 1), silent, silent])

    assert [one.verdict for one in judgement] == [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE]
    assert judgement[0].together == 1


# What is no evidence, whatever a gate says of inconclusive verdicts


@pytest.mark.parametrize("rule", ["no_regression", "non_inferiority", "superiority", "minimum"])
@pytest.mark.parametrize("head", [{}, {"a": None, "b": 1.0}, {"a": math.nan}])
def test_missing_evidence_stops_a_change_even_where_inconclusive_is_neutral(rule: str, head: Scores) -> None:
    gate = Gate(rule=rule, value=0.0, margin=0.5, on_inconclusive="neutral")  # type: ignore[arg-type]

    judgement = judge.judge(gate, head, {"a": 1.0, "b": 1.0})

    assert judgement.blocks
    assert not judgement.waits


@pytest.mark.parametrize("policy", ["fail", "extend", "neutral"])
def test_another_question_is_not_comparable_and_stops_a_change(policy: str) -> None:
    gate = Gate(on_inconclusive=policy)  # type: ignore[arg-type]
    head, base = flipped(100, 50, 0, 0)

    (judgement,) = judge.judge_together([GateCase(gate=gate, head=head, base=base, is_comparable=False)])

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert (judgement.is_comparable, judgement.blocks, judgement.waits) == (False, True, False)
    assert "not comparable" in judgement.note
    assert judgement.head == pytest.approx(2 / 3)


def test_another_question_is_judged_on_head_alone_by_a_minimum() -> None:
    head, base = flipped(100, 10, 0, 0)
    gate = Gate(rule="minimum", value=0.8)

    (judgement,) = judge.judge_together([GateCase(gate=gate, head=head, base=base, is_comparable=False)])

    assert judgement.verdict is Verdict.PASS
    assert (judgement.is_comparable, judgement.base) == (False, None)


@pytest.mark.parametrize(
    ("policy", "blocks", "waits"), [("fail", True, False), ("extend", True, True), ("neutral", False, False)]
)
def test_a_gate_says_what_evidence_does_that_does_not_decide(policy: str, *, blocks: bool, waits: bool) -> None:
    head, base = flipped(7, 3, worse=0, better=0)

    judgement = judge.judge(Gate(on_inconclusive=policy), head, base)  # type: ignore[arg-type]

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert (judgement.blocks, judgement.waits) == (blocks, waits)


def test_a_failure_is_not_softened_by_what_inconclusive_means() -> None:
    head, base = flipped(140, 50, worse=10, better=0)

    assert judge.judge(Gate(on_inconclusive="neutral"), head, base).blocks


# Clusters


def test_items_of_one_passage_count_as_one() -> None:
    """Ten items got worse, all of one conversation: that is one accident, not ten."""
    head, base = flipped(140, 50, worse=10, better=0)
    fell = [item for item in head if (head[item], base[item]) == (0.0, 1.0)]
    together = GateCase(gate=Gate(), head=head, base=base, clusters=dict.fromkeys(fell, "one"))

    (judgement,) = judge.judge_together([together])

    assert judge.judge(Gate(), head, base).verdict is Verdict.FAIL
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert (judgement.items, judgement.clusters) == (200, 191)
    assert judgement.p == pytest.approx(0.5, abs=0.02)


def test_clusters_of_one_item_each_are_no_clusters() -> None:
    head, base = flipped(140, 50, worse=6, better=2)

    (judgement,) = judge.judge_together(
        [GateCase(gate=Gate(), head=head, base=base, clusters={item: item for item in head})]
    )

    assert judgement == judge.judge(Gate(), head, base)


# Laws


PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)
GATES = st.sampled_from(
    [Gate(), Gate(rule="non_inferiority", margin=0.03), Gate(rule="superiority"), Gate(rule="minimum", value=0.6)]
)


@given(PAIRS, GATES, st.randoms())
def test_the_order_of_items_and_their_names_do_not_matter(
    pairs: list[tuple[bool, bool]], gate: Gate, source: random.Random
) -> None:
    shuffled = source.sample(pairs, len(pairs))

    def judged(some: list[tuple[bool, bool]]) -> judge.Judgement:
        return judge.judge(gate, scores(*[float(h) for h, _ in some]), scores(*[float(b) for _, b in some]))

    assert judged(shuffled) == judged(pairs)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.randoms())
def test_nor_does_it_for_other_scores(pairs: list[tuple[float, float]], source: random.Random) -> None:
    named = list(enumerate(pairs))

    def judged(some: list[tuple[int, tuple[float, float]]]) -> judge.Judgement:
        return judge.judge(Gate(), {str(n): h for n, (h, _) in some}, {str(n): b for n, (_, b) in some})

    one, other = judged(named), judged(source.sample(named, len(named)))

    assert other == one


ORDER = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from(["non_inferiority", "superiority"]))
def test_one_more_item_that_got_better_never_makes_a_verdict_worse(worse: int, better: int, rule: str) -> None:
    gate = Gate(rule=rule, margin=0.03)  # type: ignore[arg-type]
    fewer, more = suite(worse, better, gate), suite(worse, better + 1, gate)

    before, after = judge.judge_together([fewer])[0], judge.judge_together([more])[0]

    assert ORDER[after.verdict] >= ORDER[before.verdict]
    assert (after.low or 0) >= (before.low or 0)


@given(PAIRS)
def test_turned_round_bounds_and_chances_are_mirrored(pairs: list[tuple[bool, bool]]) -> None:
    head, base = scores(*[float(h) for h, _ in pairs]), scores(*[float(b) for _, b in pairs])

    there, back = judge.judge(Gate(), head, base), judge.judge(Gate(), base, head)

    assert (there.low, there.high) == pytest.approx((-(back.high or 0), -(back.low or 0)))
    assert (there.worse, there.better) == (back.better, back.worse)
    assert there.detectable == back.detectable


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_a_gate_never_both_fails_and_would_pass_the_other_way_round(pairs: list[tuple[bool, bool]]) -> None:
    head = scores(*[float(one) for one, _ in pairs])
    base = scores(*[float(one) for _, one in pairs])

    there, back = judge.judge(Gate(), head, base).verdict, judge.judge(Gate(), base, head).verdict

    assert not (there is Verdict.FAIL and back is Verdict.FAIL)


# Suites that are asked in batches


def sequential(gate: Gate, head: Scores, base: Scores | None, **case: Any) -> judge.Judgement:
    (judgement,) = judge.judge_together([GateCase(gate=gate, head=head, base=base, **({"total": 2000} | case))])
    return judgement


@given(
    st.sampled_from(
        [
            Gate(),
            Gate(detect=0.2),
            Gate(rule="non_inferiority", margin=0.1),
            Gate(rule="superiority"),
            Gate(rule="minimum", value=0.6),
        ]
    ),
    st.tuples(*[st.integers(0, 60)] * 4).filter(any),
)
def test_a_sequential_suite_is_decided_when_its_verdict_is(gate: Gate, counts: tuple[int, int, int, int]) -> None:
    head, base = flipped(*counts)
    case = GateCase(gate=gate, head=head, base=base, total=2000)

    judged = judge.judge_together([case])[0]

    assert judge.is_decided(case, 1) == (judged.verdict is not Verdict.INCONCLUSIVE)
    assert judged.low is not None
    assert judged.high is not None
    assert judged.low <= judged.high


def test_a_sequential_suite_is_never_judged_by_a_test_for_one_look() -> None:
    head, base = flipped(190, 0, 6, 0)

    assert judge.judge(Gate(), head, base).verdict is Verdict.FAIL
    judged = sequential(Gate(), head, base, total=len(head))
    assert (judged.verdict, judged.items, judged.of) == (Verdict.INCONCLUSIVE, 196, 196)
    assert judged.method == "betting test, valid at every look"
    assert judged.p == pytest.approx(betting.p_value({1.0: 6, 0.0: 190}, 0.0))
    assert (judged.low, judged.high) == pytest.approx(betting.confidence_bounds({-1.0: 6, 0.0: 190}, 0.05))
    assert judged.detectable is None
    assert judged.note == "undecided after 196 of 196 items"


def test_where_lower_is_better_a_sequential_suite_is_judged_the_other_way_round() -> None:
    head, base = flipped(100, 0, 0, 60)

    assert sequential(Gate(), head, base).verdict is Verdict.PASS
    judged = sequential(Gate(), head, base, lower_is_better=True)
    assert judged.verdict is Verdict.FAIL
    assert judged.delta == pytest.approx(60 / 160)
    assert judged.low is not None
    assert judged.low > 0


def test_a_sequential_minimum_is_a_bound_of_head() -> None:
    judged = sequential(Gate(rule="minimum", value=0.5), scores(*[1.0] * 60, *[0.0] * 10), None)

    assert judged.verdict is Verdict.PASS
    assert judged.low is not None
    assert 0.5 < judged.low < 6 / 7


@pytest.mark.parametrize(("beyond", "named"), [(30.0, "30"), (-0.5, "-0.5")])
def test_scores_without_known_bounds_are_no_evidence_for_bets(beyond: float, named: str) -> None:
    head, base = scores(1.0, beyond), scores(1.0, 1.0)

    for one in (sequential(Gate(on_inconclusive="neutral"), head, base), sequential(Gate(), base, head)):
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.blocks
        assert f"needs scores between 0 and 1, and one is {named}:" in one.note
    assert judge.is_decided(GateCase(gate=Gate(), head=head, base=base, total=2000), 1)
    assert judge.judge(Gate(), head, base).method


def test_a_sequential_suite_among_many_asks_for_more_before_it_fails() -> None:
    head, base = flipped(0, 0, 9, 0)
    case = GateCase(gate=Gate(), head=head, base=base, total=2000)

    assert judge.is_decided(case, 1)
    assert not judge.is_decided(case, 1000)
