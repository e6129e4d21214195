"""Scores answers by assertions, with the usual library for each metric.

Every score is a share from 0 to 1. An assertion that holds or not scores 1 or 0. An answer that cannot be scored has
NaN, which is never a pass.

Pure.
"""

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
    text: str
    seconds: float | None = None
    perplexity: float | None = None
    rulings: Mapping[int, Ruling] = {}


class AssertionScore(Struct, frozen=True):
    value: float
    holds: bool | None
    """None where it cannot be decided."""


def scores(answer: MeasuredAnswer, row: Row, assertions: Sequence[Assert], threshold: float | None) -> dict[str, float]:
    """Compute the metrics of an answer: pass, score, and those that the assertions name.

    An answer passes when every weighted assertion holds, or, with a ``threshold``, when its score reaches it.
    """
    all_scores = [score(answer, row, assertion, index) for index, assertion in enumerate(assertions)]
    shares = [assertion.share for assertion in assertions]
    weighted = [(each, share) for each, share in zip(all_scores, shares, strict=True) if share]
    total = _mean(weighted)
    passes = UNSCORED
    if all(each.holds is not None for each, _ in weighted) and not math.isnan(total):
        is_pass = all(each.holds for each, _ in weighted) if threshold is None else _reaches(total, threshold)
        passes = 1.0 if is_pass else 0.0
    return {PASS: passes, SCORE: total} | _named(all_scores, assertions)


def _named(all_scores: Sequence[AssertionScore], assertions: Sequence[Assert]) -> dict[str, float]:
    groups: dict[str, list[tuple[AssertionScore, float]]] = {}
    for each, assertion in zip(all_scores, assertions, strict=True):
        if assertion.metric is not None:
            groups.setdefault(assertion.metric, []).append((each, assertion.share))
    # Without any weight the scores are only recorded: then they weigh the same.
    return {
        name: _mean(group if any(weight for _, weight in group) else [(each, 1.0) for each, _ in group])
        for name, group in groups.items()
    }


def _mean(weighted: Sequence[tuple[AssertionScore, float]]) -> float:
    values = [(each.value, weight) for each, weight in weighted if weight]
    return sum(value * weight for value, weight in values) / sum(weight for _, weight in values)


def score(answer: MeasuredAnswer, row: Row, assertion: Assert, index: int = 0) -> AssertionScore:
    if assertion.basis in MEASURES:
        return _measured(answer, assertion)
    if assertion.basis == "llm-rubric":
        return _ruled(answer.rulings.get(index), assertion)
    basis, text = assertion.basis, answer.text
    value = assertion.value if basis in _SCHEMAS else filled(assertion.value, row)
    if basis in _GRADED:
        share = _GRADED[basis](text, value, assertion)
        holds = _reaches(share, assertion.threshold if assertion.threshold is not None else THRESHOLDS[basis] or 0.0)
    else:
        if basis.startswith("icontains"):
            basis, text, value = basis[1:], text.casefold(), _casefolded(value)
        holds = _PREDICATES[basis](text, value, assertion)
        share = float(holds)
    return _oriented(share, holds, assertion)


def _oriented(share: float, holds: bool, assertion: Assert) -> AssertionScore:  # noqa: FBT001  an outcome, no option
    return AssertionScore(1.0 - share, not holds) if assertion.is_negated else AssertionScore(share, holds)


def _reaches(value: float, threshold: float) -> bool:
    return value >= threshold - 1e-9  # a sum of floats may be slightly too small


def _measured(answer: MeasuredAnswer, assertion: Assert) -> AssertionScore:
    figure = answer.perplexity if assertion.basis == "perplexity" else answer.seconds
    if figure is None:
        return AssertionScore(UNSCORED, None)
    if assertion.basis == "latency":
        figure *= 1000
    if assertion.basis == "cost":
        figure *= (assertion.hourly_cost or 0.0) / 3600
    if assertion.threshold is None:
        return AssertionScore(figure, None)
    return AssertionScore(float(figure <= assertion.threshold), figure <= assertion.threshold)


def _ruled(ruling: Ruling | None, assertion: Assert) -> AssertionScore:
    if ruling is None or ruling.holds is None or ruling.score is None:
        return AssertionScore(UNSCORED, None)
    return _oriented(ruling.score, is_met(ruling, assertion) is True, assertion)


def is_met(ruling: Ruling, assertion: Assert) -> bool | None:
    """Whether a ruling meets its rubric, regardless of `not-`; None for an invalid ruling."""
    if ruling.holds is None or ruling.score is None:
        return None
    return ruling.holds and _reaches(ruling.score, assertion.threshold or 0.0)


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


def _expected(value: Any, assertion: Assert) -> str:
    """Write an expected value as text. Raises `StepFailed` for an empty text, which every answer contains."""
    text = as_text(value)
    if not text:
        raise StepFailed(
            f"the value of {assertion.type} is empty for a row, and every answer contains that. Fill the column."
        )
    return text


def _expected_parts(value: Any, assertion: Assert) -> list[str]:
    parts = value if isinstance(value, list) else [part.strip() for part in as_text(value).split(",")]
    return [_expected(part, assertion) for part in parts]


def _casefolded(value: Any) -> Any:
    return [as_text(part).casefold() for part in value] if isinstance(value, list) else as_text(value).casefold()


# Scorers


def _equals(text: str, value: Any, _: Assert) -> bool:
    if isinstance(value, (list, dict)):
        return any(answer_parsing.equal(parsed, value) for parsed in answer_parsing.whole(text))
    return text == as_text(value)


def _json_path(text: str, value: Any, assertion: Assert) -> bool:
    matches = answer_parsing.matches(assertion.path or "", text)
    return any(value is None or answer_parsing.equals_expected(match, value) for match in matches)


def _levenshtein(text: str, value: Any, assertion: Assert) -> bool:
    limit = THRESHOLDS["levenshtein"] if assertion.threshold is None else assertion.threshold
    return bool(Levenshtein.distance(text, as_text(value)) <= (limit or 0.0))


def _bleu(text: str, value: Any, assertion: Assert) -> float:
    references = [_expected(part, assertion) for part in (value if isinstance(value, list) else [value])]
    return float(_BLEU.sentence_score(text, references).score) / 100


_BLEU = BLEU(effective_order=True)  # sacrebleu recommends it for single sentences


def _rouge(text: str, value: Any, assertion: Assert) -> float:
    return float(_rouge_scorer().score(_expected(value, assertion), text)["rouge1"].fmeasure)


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
    "contains": lambda text, value, assertion: _expected(value, assertion) in text,
    "contains-any": lambda text, value, assertion: any(part in text for part in _expected_parts(value, assertion)),
    "contains-all": lambda text, value, assertion: all(part in text for part in _expected_parts(value, assertion)),
    "starts-with": lambda text, value, assertion: text.startswith(_expected(value, assertion)),
    "regex": lambda text, value, assertion: answer_parsing.finds(_expected(value, assertion), text),
    "is-json": lambda text, value, _: any(answer_parsing.fits(part, value) for part in answer_parsing.whole(text)),
    "contains-json": lambda text, value, _: any(
        answer_parsing.fits(part, value) for part in answer_parsing.inside(text)
    ),
    "json-path": _json_path,
    "levenshtein": _levenshtein,
}
"""Scorers that hold or not; `icontains` and its like are those of `contains`, with case ignored on both sides."""
