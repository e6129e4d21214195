"""promptfoo's assertions -> ours, which have the same names; what is a program, or of a hosted service, is not here.

The vocabulary: https://www.promptfoo.dev/docs/configuration/expected-outputs/.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from llmops.importing.source_model import ImportedAssertion, SourceConfig, SourceLocation, Unloadable, load
from llmops.kinds.evaluation.assertions import Type

TYPES = frozenset(get_args(Type)) - {"cost", "json-path", "not-json-path"}
"""Types that mean the same in both."""
FIELDS = frozenset("type value threshold weight metric provider".split())
REMEDIES = {
    "cost": "Assert cost with the hourly_cost of the device: answers are not billed by tokens here.",
    "javascript": "Say it with contains, regex or is-json; programs of a repository are not run to judge it.",
    "python": "Say it with contains, regex or is-json; programs of a repository are not run to judge it.",
    "webhook": "Nothing outside decides here. Say it with contains, regex or is-json.",
    "similar": "Use rouge-n or levenshtein, or an llm-rubric: there are no embeddings here.",
    "factuality": "Write it as an llm-rubric.",
    "answer-relevance": "Write it as an llm-rubric.",
    "g-eval": "Write it as an llm-rubric.",
    "model-graded-closedqa": "Write it as an llm-rubric.",
    "word-count": r"Use regex: ^\W*(\w+\W+){0,49}\w*\W*$ holds for up to 50 words.",
    "perplexity-score": "Assert perplexity.",
}
OTHERWISE = "Say it with one of the types of the Evaluation's assert."


def claims(given: Any, at: SourceLocation, judge: str, found: SourceConfig) -> Iterator[ImportedAssertion]:
    """Translate one assertion; a set of them, all of which have to hold, is each of them."""
    if not isinstance(given, dict) or not isinstance(given.get("type"), str):
        found.refuse(at, "this is not an assertion.", "Write it as a mapping with a type.")
    elif given["type"] == "assert-set":
        yield from _set(given, at, judge, found)
    elif given["type"] not in TYPES:
        word = given["type"].removeprefix("not-")
        found.refuse(at, f"{given['type']} is not asserted here.", REMEDIES.get(word, OTHERWISE))
    else:
        yield from _claim(given, at, judge, found)


def _set(given: dict[str, Any], at: SourceLocation, judge: str, found: SourceConfig) -> Iterator[ImportedAssertion]:
    if given.keys() - {"type", "assert"}:
        remedy = "Write its assertions out, each with its weight; the test's threshold is that of the suite."
        found.refuse(at, "a set with a threshold, weight or metric of its own is not known here.", remedy)
        return
    for index, one in enumerate(found.listed(given.get("assert"), at.at("assert"))):
        yield from claims(one, at.at("assert", index), judge, found)


def _claim(given: dict[str, Any], at: SourceLocation, judge: str, found: SourceConfig) -> Iterator[ImportedAssertion]:
    for field in sorted(given.keys() - FIELDS):
        found.refuse(at.at(field), f"an assertion has no {field} here.", "Leave it out.")
    metric = given.get("metric")
    if metric is not None and "{{" in str(metric):
        found.refuse(at.at("metric"), "the name of a metric cannot differ from row to row.", "Write a name.")
        metric = None
    value = given.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        try:
            value = _of_file(value, at)
        except Unloadable as error:
            found.refuse(at.at("value"), str(error), "Write the value out.")
            return
    known = {"threshold": given.get("threshold"), "weight": given.get("weight"), "metric": metric}
    fields = {"type": given["type"]} | {name: one for name, one in known.items() if one is not None}
    yield ImportedAssertion(fields=fields, value=value, judge=name_of(given.get("provider")) or judge, spot=at)


def _of_file(reference: str, at: SourceLocation) -> Any:
    path = at.beside(reference)
    if path.endswith((".json", ".yaml", ".yml")):
        return load(at, reference)[0]
    if path in at.files and path.endswith((".txt", ".md")):
        return at.files[path].decode(errors="replace")
    raise Unloadable(f"{path} is not there, or is no text, YAML or JSON.")


def name_of(provider: Any) -> str:
    """Give the name of a provider, however it is given."""
    found = provider.get("id") if isinstance(provider, dict) else provider
    return found if isinstance(found, str) else ""
