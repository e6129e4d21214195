"""answer, assertion, row -> a score, with the libraries that are known for each.

Every scorer gives a share from 0 to 1. What holds or not gives 0 or 1, and what cannot be scored gives NaN, which is
never a pass.

Pure.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU

from llmops.kinds.evaluation.assertions import MEASURES, PASS, SCORE, THRESHOLDS, Assert
from llmops.kinds.evaluation.rubrics import Ruling
from llmops.language import jinja
from llmops.language.jinja import InvalidTemplate
from llmops.steps.context import StepFailed
from llmops.steps.evaluation import answer_parsing
from llmops.steps.evaluation.answer_parsing import as_text

Row: TypeAlias = Mapping[str, Any]
UNSCORED = float("nan")


class Answer(Struct, frozen=True, kw_only=True):
    """What a model said, and what was measured of it."""

    text: str
    seconds: float | None = None
    perplexity: float | None = None
    rulings: Mapping[int, Ruling] = {}
    """What the judge said, by the place of the assertion."""


class Score(Struct, frozen=True):
    """How an answer fares with one assertion."""

    value: float
    holds: bool | None
    """None where that is not known."""


def scores(answer: Answer, row: Row, asserts: Sequence[Assert], threshold: float | None) -> dict[str, float]:
    """Give the metrics of an answer: pass, score, and those that the assertions name."""
    found = [score(answer, row, one, index) for index, one in enumerate(asserts)]
    counted = [(each, one.share) for each, one in zip(found, asserts, strict=True) if one.share]
    total = _mean(counted)
    holds = UNSCORED
    if all(each.holds is not None for each, _ in counted) and not math.isnan(total):
        reached = all(each.holds for each, _ in counted) if threshold is None else _reaches(total, threshold)
        holds = 1.0 if reached else 0.0
    return {PASS: holds, SCORE: total} | _named(found, asserts)


def _named(found: Sequence[Score], asserts: Sequence[Assert]) -> dict[str, float]:
    groups: dict[str, list[tuple[Score, float]]] = {}
    for each, one in zip(found, asserts, strict=True):
        if one.metric is not None:
            groups.setdefault(one.metric, []).append((each, one.share))
    # Scores that are only recorded all weigh the same.
    return {
        name: _mean(group if any(w for _, w in group) else [(s, 1.0) for s, _ in group])
        for name, group in groups.items()
    }


def _mean(weighted: Sequence[tuple[Score, float]]) -> float:
    weighing = [(each.value, weight) for each, weight in weighted if weight]
    return sum(value * weight for value, weight in weighing) / sum(weight for _, weight in weighing)


def score(answer: Answer, row: Row, one: Assert, index: int = 0) -> Score:
    """Score an answer by one assertion; ``index`` is its place in the suite, by which a ruling is found."""
    if one.basis in MEASURES:
        return _measured(answer, one)
    if one.basis == "llm-rubric":
        return _ruled(answer.rulings.get(index), one)
    share = _SCORERS[one.basis](answer.text, filled(one.value, row) if one.basis not in _SCHEMAS else one.value, one)
    least = one.threshold if one.basis in _SHARES and one.threshold is not None else THRESHOLDS.get(one.basis)
    holds = _reaches(share, least if one.basis in _SHARES and least is not None else 1.0)
    return Score(1.0 - share, not holds) if one.is_negated else Score(share, holds)


def _reaches(value: float, least: float) -> bool:
    return value >= least - 1e-9  # three quarters that were added up may be a little less


def _measured(answer: Answer, one: Assert) -> Score:
    figure = answer.perplexity if one.basis == "perplexity" else answer.seconds
    if figure is None:
        return Score(UNSCORED, None)
    if one.basis == "latency":
        figure *= 1000
    if one.basis == "cost":
        figure *= (one.hourly_cost or 0.0) / 3600
    if one.threshold is None:
        return Score(figure, None)
    return Score(float(figure <= one.threshold), figure <= one.threshold)


def _ruled(found: Ruling | None, one: Assert) -> Score:
    if found is None or found.holds is None or found.score is None:
        return Score(UNSCORED, None)
    holds = met(found, one) is True
    return Score(1.0 - found.score, not holds) if one.is_negated else Score(found.score, holds)


def met(found: Ruling, one: Assert) -> bool | None:
    """Say whether a judge found that a rubric is met, `not-` or not."""
    if found.holds is None or found.score is None:
        return None
    return found.holds and _reaches(found.score, one.threshold or 0.0)


def filled(value: Any, row: Row) -> Any:
    """Fill the templates of a value in from a row. Raises `StepFailed` where a column is missing."""
    if isinstance(value, str):
        if "{" not in value:
            return value
        known = {name: one for name, one in row.items() if one is not None}
        try:
            return jinja.render(value, known)
        except InvalidTemplate as error:
            columns = ", ".join(sorted(known)) or "no columns"
            raise StepFailed(f'"{value}" cannot be filled in from a row: {error.what} The row has {columns}.') from None
    if isinstance(value, list):
        return [filled(one, row) for one in value]
    if isinstance(value, dict):
        return {name: filled(one, row) for name, one in value.items()}
    return value


# What is expected, as text


def _wanted(value: Any, one: Assert) -> str:
    """Give an expected text. An empty one would be in every answer."""
    text = as_text(value)
    if not text:
        raise StepFailed(f"the value of {one.type} is empty for a row: every answer has that. Fill the column.")
    return text


def _several(value: Any, one: Assert) -> list[str]:
    found = value if isinstance(value, list) else [part.strip() for part in as_text(value).split(",")]
    return [_wanted(part, one) for part in found]


# Scorers


def _equals(text: str, value: Any, one: Assert) -> float:  # noqa: ARG001  one signature for all
    if isinstance(value, (list, dict)):
        return float(any(answer_parsing.same(found, value) for found in answer_parsing.whole(text)))
    return float(text == as_text(value))


def _contains(text: str, value: Any, one: Assert) -> float:
    return float(_wanted(value, one) in text)


def _contains_any(text: str, value: Any, one: Assert) -> float:
    return float(any(part in text for part in _several(value, one)))


def _contains_all(text: str, value: Any, one: Assert) -> float:
    return float(all(part in text for part in _several(value, one)))


def _any_case(scorer: Callable[[str, Any, Assert], float]) -> Callable[[str, Any, Assert], float]:
    def scored(text: str, value: Any, one: Assert) -> float:
        lower = [as_text(part).casefold() for part in value] if isinstance(value, list) else as_text(value).casefold()
        return scorer(text.casefold(), lower, one)

    return scored


def _starts_with(text: str, value: Any, one: Assert) -> float:
    return float(text.startswith(_wanted(value, one)))


def _regex(text: str, value: Any, one: Assert) -> float:
    return float(answer_parsing.finds(_wanted(value, one), text))


def _is_json(text: str, value: Any, one: Assert) -> float:  # noqa: ARG001  one signature for all
    return float(any(answer_parsing.fits(found, value) for found in answer_parsing.whole(text)))


def _contains_json(text: str, value: Any, one: Assert) -> float:  # noqa: ARG001  one signature for all
    return float(any(answer_parsing.fits(found, value) for found in answer_parsing.inside(text)))


def _json_path(text: str, value: Any, one: Assert) -> float:
    found = answer_parsing.followed(one.path or "", text)
    return float(any(value is None or answer_parsing.stands_for(value, each) for each in found))


def _levenshtein(text: str, value: Any, one: Assert) -> float:
    most = THRESHOLDS["levenshtein"] if one.threshold is None else one.threshold
    return float(Levenshtein.distance(text, as_text(value)) <= (most or 0.0))


def _bleu(text: str, value: Any, one: Assert) -> float:
    references = [_wanted(part, one) for part in value] if isinstance(value, list) else [_wanted(value, one)]
    return float(_BLEU.sentence_score(text, references).score) / 100


_BLEU = BLEU(effective_order=True)  # as sacrebleu advises for single sentences


def _rouge(text: str, value: Any, one: Assert) -> float:
    return float(_rouge_scorer().score(_wanted(value, one), text)["rouge1"].fmeasure)


@functools.cache
def _rouge_scorer() -> Any:
    # rouge_score imports nltk, which takes 1.6 s: only suites that use it wait for that.
    module = importlib.import_module("rouge_score.rouge_scorer")
    return module.RougeScorer(["rouge1"], tokenizer=_Words())


class _Words:
    """Words of every language: rouge_score's own way drops all letters but a to z."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text.lower())


_SHARES = frozenset({"bleu", "rouge-n"})
"""Types whose score is between 0 and 1, and whose threshold is the least that passes."""
_SCHEMAS = frozenset({"is-json", "contains-json"})
_SCORERS: Mapping[str, Callable[[str, Any, Assert], float]] = {
    "equals": _equals,
    "contains": _contains,
    "icontains": _any_case(_contains),
    "contains-any": _contains_any,
    "icontains-any": _any_case(_contains_any),
    "contains-all": _contains_all,
    "icontains-all": _any_case(_contains_all),
    "starts-with": _starts_with,
    "regex": _regex,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "json-path": _json_path,
    "levenshtein": _levenshtein,
    "bleu": _bleu,
    "rouge-n": _rouge,
}
