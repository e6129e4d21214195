"""Scores answers by assertions, with the usual library for each metric.

Every score is a share from 0 to 1. An assertion that holds or not scores 1 or 0. An answer that cannot be scored has
NaN, which is never a pass.

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


class MeasuredAnswer(Struct, frozen=True, kw_only=True):
    """An answer of the subject, and what was measured of it."""

    text: str
    seconds: float | None = None
    perplexity: float | None = None
    rulings: Mapping[int, Ruling] = {}
    """Rulings of the judge by the index of the assertion."""


class AssertionScore(Struct, frozen=True):
    """Score of an answer by one assertion."""

    value: float
    holds: bool | None
    """None where it cannot be decided."""


def scores(answer: MeasuredAnswer, row: Row, asserts: Sequence[Assert], threshold: float | None) -> dict[str, float]:
    """Compute the metrics of an answer: pass, score, and those that the assertions name.

    An answer passes when every weighted assertion holds, or, with a ``threshold``, when its score reaches it.
    """
    all_scores = [score(answer, row, one, index) for index, one in enumerate(asserts)]
    weighted = [(each, one.share) for each, one in zip(all_scores, asserts, strict=True) if one.share]
    total = _mean(weighted)
    passes = UNSCORED
    if all(each.holds is not None for each, _ in weighted) and not math.isnan(total):
        is_pass = all(each.holds for each, _ in weighted) if threshold is None else _reaches(total, threshold)
        passes = 1.0 if is_pass else 0.0
    return {PASS: passes, SCORE: total} | _named(all_scores, asserts)


def _named(all_scores: Sequence[AssertionScore], asserts: Sequence[Assert]) -> dict[str, float]:
    groups: dict[str, list[tuple[AssertionScore, float]]] = {}
    for each, one in zip(all_scores, asserts, strict=True):
        if one.metric is not None:
            groups.setdefault(one.metric, []).append((each, one.share))
    # Without any weight the scores are only recorded: then they weigh the same.
    return {
        name: _mean(group if any(weight for _, weight in group) else [(each, 1.0) for each, _ in group])
        for name, group in groups.items()
    }


def _mean(weighted: Sequence[tuple[AssertionScore, float]]) -> float:
    values = [(each.value, weight) for each, weight in weighted if weight]
    return sum(value * weight for value, weight in values) / sum(weight for _, weight in values)


def score(answer: MeasuredAnswer, row: Row, one: Assert, index: int = 0) -> AssertionScore:
    """Score an answer by one assertion; ``index`` is its place in the suite, which names its ruling."""
    if one.basis in MEASURES:
        return _measured(answer, one)
    if one.basis == "llm-rubric":
        return _ruled(answer.rulings.get(index), one)
    basis, text = one.basis, answer.text
    value = one.value if basis in _SCHEMAS else filled(one.value, row)
    if basis in _GRADED:
        share = _GRADED[basis](text, value, one)
        holds = _reaches(share, one.threshold if one.threshold is not None else THRESHOLDS[basis] or 0.0)
    else:
        if basis.startswith("icontains"):
            basis, text, value = basis[1:], text.casefold(), _casefolded(value)
        holds = _PREDICATES[basis](text, value, one)
        share = float(holds)
    return AssertionScore(1.0 - share, not holds) if one.is_negated else AssertionScore(share, holds)


def _reaches(value: float, threshold: float) -> bool:
    return value >= threshold - 1e-9  # a sum of floats may be slightly too small


def _measured(answer: MeasuredAnswer, one: Assert) -> AssertionScore:
    figure = answer.perplexity if one.basis == "perplexity" else answer.seconds
    if figure is None:
        return AssertionScore(UNSCORED, None)
    if one.basis == "latency":
        figure *= 1000
    if one.basis == "cost":
        figure *= (one.hourly_cost or 0.0) / 3600
    if one.threshold is None:
        return AssertionScore(figure, None)
    return AssertionScore(float(figure <= one.threshold), figure <= one.threshold)


def _ruled(ruling: Ruling | None, one: Assert) -> AssertionScore:
    if ruling is None or ruling.holds is None or ruling.score is None:
        return AssertionScore(UNSCORED, None)
    holds = is_met(ruling, one) is True
    return AssertionScore(1.0 - ruling.score, not holds) if one.is_negated else AssertionScore(ruling.score, holds)


def is_met(ruling: Ruling, one: Assert) -> bool | None:
    """Whether a ruling says that a rubric is met, regardless of `not-`; None for an invalid ruling."""
    if ruling.holds is None or ruling.score is None:
        return None
    return ruling.holds and _reaches(ruling.score, one.threshold or 0.0)


def filled(value: Any, row: Row) -> Any:
    """Render the templates in a value with the columns of a row. Raises `StepFailed` where a column is missing."""
    if isinstance(value, str):
        if "{" not in value:
            return value
        columns = {name: field for name, field in row.items() if field is not None}
        try:
            return jinja.render(value, columns)
        except InvalidTemplate as error:
            names = ", ".join(sorted(columns)) or "no columns"
            raise StepFailed(f'"{value}" cannot be filled in from a row: {error.what} The row has {names}.') from None
    if isinstance(value, list):
        return [filled(entry, row) for entry in value]
    if isinstance(value, dict):
        return {name: filled(entry, row) for name, entry in value.items()}
    return value


# Expected text


def _expected(value: Any, one: Assert) -> str:
    """Expected text. Raises `StepFailed` for an empty one, which every answer contains."""
    text = as_text(value)
    if not text:
        raise StepFailed(
            f"the value of {one.type} is empty for a row, and every answer contains that. Fill the column."
        )
    return text


def _expected_parts(value: Any, one: Assert) -> list[str]:
    parts = value if isinstance(value, list) else [part.strip() for part in as_text(value).split(",")]
    return [_expected(part, one) for part in parts]


def _casefolded(value: Any) -> Any:
    return [as_text(part).casefold() for part in value] if isinstance(value, list) else as_text(value).casefold()


# Scorers


def _equals(text: str, value: Any, _: Assert) -> bool:
    if isinstance(value, (list, dict)):
        return any(answer_parsing.equal(parsed, value) for parsed in answer_parsing.whole(text))
    return text == as_text(value)


def _json_path(text: str, value: Any, one: Assert) -> bool:
    matches = answer_parsing.matches(one.path or "", text)
    return any(value is None or answer_parsing.equals_expected(match, value) for match in matches)


def _levenshtein(text: str, value: Any, one: Assert) -> bool:
    limit = THRESHOLDS["levenshtein"] if one.threshold is None else one.threshold
    return bool(Levenshtein.distance(text, as_text(value)) <= (limit or 0.0))


def _bleu(text: str, value: Any, one: Assert) -> float:
    references = [_expected(part, one) for part in value] if isinstance(value, list) else [_expected(value, one)]
    return float(_BLEU.sentence_score(text, references).score) / 100


_BLEU = BLEU(effective_order=True)  # sacrebleu recommends it for single sentences


def _rouge(text: str, value: Any, one: Assert) -> float:
    return float(_rouge_scorer().score(_expected(value, one), text)["rouge1"].fmeasure)


@functools.cache
def _rouge_scorer() -> Any:
    # rouge_score imports nltk, which takes 1.6 s: only suites that use it pay for that.
    module = importlib.import_module("rouge_score.rouge_scorer")
    return module.RougeScorer(["rouge1"], tokenizer=_Words())


class _Words:
    """Tokenizer for all languages: that of rouge_score drops all letters but a to z."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text.lower())


_SCHEMAS = frozenset({"is-json", "contains-json"})
_GRADED: Mapping[str, Callable[[str, Any, Assert], float]] = {"bleu": _bleu, "rouge-n": _rouge}
"""Scorers with a share, which passes from the threshold on."""
_PREDICATES: Mapping[str, Callable[[str, Any, Assert], bool]] = {
    "equals": _equals,
    "contains": lambda text, value, one: _expected(value, one) in text,
    "contains-any": lambda text, value, one: any(part in text for part in _expected_parts(value, one)),
    "contains-all": lambda text, value, one: all(part in text for part in _expected_parts(value, one)),
    "starts-with": lambda text, value, one: text.startswith(_expected(value, one)),
    "regex": lambda text, value, one: answer_parsing.finds(_expected(value, one), text),
    "is-json": lambda text, value, _: any(answer_parsing.fits(part, value) for part in answer_parsing.whole(text)),
    "contains-json": lambda text, value, _: any(
        answer_parsing.fits(part, value) for part in answer_parsing.inside(text)
    ),
    "json-path": _json_path,
    "levenshtein": _levenshtein,
}
"""Scorers that hold or not; `icontains` and its like are those of `contains`, with case ignored on both sides."""
