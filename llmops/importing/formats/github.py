"""GitHub's .prompt.yml: messages, a model, test data and evaluators in one file.

The format: https://docs.github.com/github-models/use-github-models/storing-prompts-in-github-repositories. What its
evaluators mean is that of https://github.com/github/gh-models: they ignore case, but for `equals`.

Pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmops.importing.source_model import (
    Format,
    ImportedAssertion,
    ImportedPrompt,
    ImportedTest,
    Provider,
    SourceConfig,
    SourceLocation,
)

ENDINGS = (".prompt.yml", ".prompt.yaml")
FIELDS = frozenset("name description model modelParameters messages testData evaluators".split())
PARAMETERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxTokens": "max_tokens",
    "maxCompletionTokens": "max_tokens",
    "stop": "stop",
    "seed": "seed",
}
ROLES = ("system", "user", "assistant")
UNKNOWN = "Leave it out, or say it in the spec in another way."


def recognises(path: str, value: Mapping[str, Any]) -> bool:
    """Whether a file is one: by its name, or because it holds messages."""
    return path.endswith(ENDINGS) or ("messages" in value and "prompts" not in value)


def read(spot: SourceLocation, value: Mapping[str, Any]) -> SourceConfig:
    """Say what a file means."""
    stem = posixpath.basename(spot.path)
    for ending in (*ENDINGS, ".yml", ".yaml"):
        stem = stem.removesuffix(ending)
    said = ": ".join(str(value[name]) for name in ("name", "description") if value.get(name))
    found = SourceConfig(name=stem, spot=spot, description=said)
    for name in value.keys() - FIELDS:
        found.refuse(spot.at(name), f"{name} has no counterpart here.", _remedy(name))
    messages = list(_messages(value.get("messages"), found))
    if messages:
        found.wordings.append(ImportedPrompt(name=stem, messages=tuple(messages), spot=spot.at("messages")))
    parameters = dict(_parameters(value.get("modelParameters"), found))
    model = value.get("model")
    if isinstance(model, str) and model:
        found.providers.append(Provider(name=model, parameters=parameters, spot=spot.at("model")))
    elif model is not None:
        found.refuse(spot.at("model"), "this is no name of a model.", "Write one: openai/gpt-4o-mini.")
    claims = tuple(_claims(value.get("evaluators"), found))
    found.cases += _cases(value.get("testData"), claims, found)
    if claims and not found.cases:
        remedy = "Add testData, or leave the evaluators out."
        found.refuse(spot.at("evaluators"), "there is no test data to evaluate.", remedy)
    return found


def _remedy(name: str) -> str:
    if name in ("responseFormat", "jsonSchema"):
        return "Answers are not held to a form here; assert it: {type: is-json, value: the schema}."
    return UNKNOWN


def _messages(given: Any, found: SourceConfig) -> Iterator[tuple[str, str]]:
    at = found.spot.at("messages")
    if not isinstance(given, list) or not given:
        found.refuse(at, "there are no messages.", "Add messages: a list of role and content.")
        return
    for index, one in enumerate(given):
        role, content = (one.get("role"), one.get("content")) if isinstance(one, dict) else (None, None)
        if role in ROLES and isinstance(content, str) and content:
            yield str(role), content
        else:
            remedy = f"A message has a role ({', '.join(ROLES)}) and a content, which is text."
            found.refuse(at.at(index), "this message cannot be used.", remedy)


def _parameters(given: Any, found: SourceConfig) -> Iterator[tuple[str, Any]]:
    if given is not None and not isinstance(given, dict):
        found.refuse(found.spot.at("modelParameters"), "these are no parameters.", "Write them as a mapping.")
    for name, value in given.items() if isinstance(given, dict) else ():
        if name in PARAMETERS:
            yield PARAMETERS[name], [value] if name == "stop" and isinstance(value, str) else value
        else:
            found.refuse(found.spot.at("modelParameters", name), f"prompts have no parameter {name}.", UNKNOWN)


def _cases(given: Any, claims: tuple[ImportedAssertion, ...], found: SourceConfig) -> Iterator[ImportedTest]:
    for index, row in enumerate(found.listed(given, found.spot.at("testData"))):
        at = found.spot.at("testData", index)
        if isinstance(row, dict):
            yield ImportedTest(row=row, claims=claims, spot=at)
        else:
            found.refuse(at, "this is not a row.", "Write it as a mapping of columns: input: …")


def _claims(given: Any, found: SourceConfig) -> Iterator[ImportedAssertion]:
    for index, one in enumerate(found.listed(given, found.spot.at("evaluators"))):
        at = found.spot.at("evaluators", index)
        if not isinstance(one, dict):
            found.refuse(at, "this is not an evaluator.", "Write it as a mapping: name, and string, llm or uses.")
        elif isinstance(one.get("string"), dict):
            yield from _strings(one["string"], str(one.get("name") or ""), at.at("string"), found)
        elif isinstance(one.get("llm"), dict):
            yield _rubric(one["llm"], str(one.get("name") or ""), at.at("llm"), found)
        else:
            what = f"{one.get('uses') or one.get('name') or 'this evaluator'} is not known here."
            remedy = "Assert rouge-n or levenshtein with {{ expected }} instead, or write a rubric (llm)."
            found.refuse(at, what, remedy)


def _strings(
    given: Mapping[str, Any], name: str, at: SourceLocation, found: SourceConfig
) -> Iterator[ImportedAssertion]:
    """Translate what is asserted of the text. Only `equals` minds capitals."""
    for word, value in given.items():
        text = str(value)
        made = {
            "equals": ("equals", text),
            "contains": ("icontains", text),
            "startsWith": ("regex", rf"(?i)\A{_quoted(text)}"),
            "endsWith": ("regex", rf"(?i){_quoted(text)}\z"),
        }.get(word)
        if made is None:
            found.refuse(at.at(word), f"string has no {word} here.", "Use equals, contains, startsWith or endsWith.")
        elif made[0] == "regex" and "{{" in text:
            remedy = "Write it out, or use contains."
            found.refuse(at.at(word), f"a column cannot stand in {word}: it would be a regular expression.", remedy)
        else:
            yield ImportedAssertion(fields={"type": made[0]} | _metric(name), value=made[1], spot=at.at(word))


def _quoted(text: str) -> str:
    """Write a text as a regular expression that matches just that, and that is no template."""
    return re.sub(r"[^A-Za-z0-9 _\-,;:'\"<>=/!@%&~`]", lambda sign: rf"\x{{{ord(sign[0]):x}}}", text)


def _metric(name: str) -> dict[str, str]:
    """Give the name of an evaluator as that of a metric, where it can be one."""
    return {"metric": name} if name and "," not in name and "{" not in name and len(name) <= 100 else {}  # noqa: PLR2004


def _rubric(given: Mapping[str, Any], name: str, at: SourceLocation, found: SourceConfig) -> ImportedAssertion:
    """Translate a judge's prompt: here the judge sees question and answer by itself, and is told the rubric."""
    parts = [str(given[part]).strip() for part in ("systemPrompt", "prompt") if given.get(part)]
    text = re.sub(r"\{\{\s*completion\s*\}\}", "(the answer)", "\n\n".join(parts))
    choices = found.listed(given.get("choices"), at.at("choices"))
    said = ", ".join(str(one.get("choice")) for one in choices if isinstance(one, dict))
    what = "the judge gets the question, the answer and this text, and says whether it holds, with a score from 0 to 1"
    found.remark(at, f"{what}{f', not one of {said}' if said else ''}.", "Read the rubric over.")
    judge = str(given.get("modelId") or "")
    return ImportedAssertion(fields={"type": "llm-rubric"} | _metric(name), value=text, judge=judge, spot=at)


FORMAT = Format(title="GitHub's .prompt.yml", recognises=recognises, read=read)
