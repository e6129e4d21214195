"""Reads promptfoo's assertions, whose types have the same names here; programs and hosted services have no counterpart.

The vocabulary: https://www.promptfoo.dev/docs/configuration/expected-outputs/.

Pure.
"""

from collections.abc import Iterator
from typing import Any, get_args

from llmops.importing.source_model import ImportedAssertion, SourceConfig, SourceLocation, Unloadable, load
from llmops.kinds.evaluation.assertions import Type

TYPES = frozenset(get_args(Type)) - {"cost", "json-path", "not-json-path"}
"""Types with the same meaning in both."""
FIELDS = frozenset("type value threshold weight metric provider".split())
NO_PROGRAM = "Use contains, regex or is-json: a gate runs no programs of the repository."
RUBRIC = "Write it as an llm-rubric."
REMEDIES = {
    "cost": "Assert cost with the hourly_cost of the device: tokens have no price here.",
    "javascript": NO_PROGRAM,
    "python": NO_PROGRAM,
    "webhook": "Use contains, regex or is-json: a gate calls no other service.",
    "similar": "Use rouge-n, levenshtein or an llm-rubric: there are no embeddings here.",
    "factuality": RUBRIC,
    "answer-relevance": RUBRIC,
    "g-eval": RUBRIC,
    "model-graded-closedqa": RUBRIC,
    "word-count": r"Use regex: ^\W*(\w+\W+){0,49}\w*\W*$ holds for up to 50 words.",
    "perplexity-score": "Assert perplexity.",
}
OTHERWISE = "Use one of the types of an Evaluation's assert."


def assertions(value: Any, at: SourceLocation, judge: str, source: SourceConfig) -> Iterator[ImportedAssertion]:
    """Translate one assertion, or each of a set, which must all hold."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        source.refuse(at, "this is not an assertion.", "Write it as a mapping with a type.")
    elif value["type"] == "assert-set":
        yield from _set(value, at, judge, source)
    elif value["type"] not in TYPES:
        word = value["type"].removeprefix("not-")
        source.refuse(at, f"the type {value['type']} is not known here.", REMEDIES.get(word, OTHERWISE))
    else:
        yield from _assertion(value, at, judge, source)


def _set(fields: dict[str, Any], at: SourceLocation, judge: str, source: SourceConfig) -> Iterator[ImportedAssertion]:
    if fields.keys() - {"type", "assert"}:
        remedy = "Write out its assertions, each with its weight; the threshold of the test is that of the suite."
        source.refuse(at, "a set with a threshold, weight or metric of its own is not known here.", remedy)
        return
    for index, member in enumerate(source.listed(fields.get("assert"), at.at("assert"))):
        yield from assertions(member, at.at("assert", index), judge, source)


def _assertion(
    fields: dict[str, Any], at: SourceLocation, judge: str, source: SourceConfig
) -> Iterator[ImportedAssertion]:
    for field in sorted(fields.keys() - FIELDS):
        source.refuse(at.at(field), f"an assertion has no {field} here.", "Leave it out.")
    metric = fields.get("metric")
    if metric is not None and "{{" in str(metric):
        source.refuse(at.at("metric"), "the name of a metric cannot differ from row to row.", "Write a name.")
        metric = None
    value = fields.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        try:
            value = _of_file(value, at)
        except Unloadable as error:
            source.refuse(at.at("value"), str(error), "Write the value out.")
            return
    options = {"threshold": fields.get("threshold"), "weight": fields.get("weight"), "metric": metric}
    kept = {"type": fields["type"]} | {name: option for name, option in options.items() if option is not None}
    yield ImportedAssertion(fields=kept, value=value, judge=name_of(fields.get("provider")) or judge, location=at)


def _of_file(reference: str, at: SourceLocation) -> Any:
    path = at.beside(reference)
    if path.endswith((".json", ".yaml", ".yml")):
        return load(at, reference)[0]
    if path in at.files and path.endswith((".txt", ".md")):
        return at.files[path].decode(errors="replace")
    raise Unloadable(f"{path} does not exist, or is no text, YAML or JSON.")


def name_of(provider: Any) -> str:
    """Return the name of a provider, which is a text or a mapping with an id; '' otherwise."""
    name = provider.get("id") if isinstance(provider, dict) else provider
    return name if isinstance(name, str) else ""
