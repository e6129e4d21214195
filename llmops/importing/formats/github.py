"""Reads GitHub's .prompt.yml: messages, a model, test data and evaluators in one file.

The format: https://docs.github.com/github-models/use-github-models/storing-prompts-in-github-repositories. Evaluators
have the meaning of https://github.com/github/gh-models: they ignore case, except for `equals`.

Pure.
"""

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
UNKNOWN = "Leave it out, or express it in the spec in another way."


def recognises(path: str, value: Mapping[str, Any]) -> bool:
    """Whether a file is a .prompt.yml, by its name or its fields."""
    return path.endswith(ENDINGS) or ("messages" in value and "prompts" not in value)


def read(location: SourceLocation, value: Mapping[str, Any]) -> SourceConfig:
    stem = posixpath.basename(location.path)
    for ending in (*ENDINGS, ".yml", ".yaml"):
        stem = stem.removesuffix(ending)
    description = ": ".join(str(value[name]) for name in ("name", "description") if value.get(name))
    source = SourceConfig(name=stem, location=location, description=description)
    for name in value.keys() - FIELDS:
        source.refuse(location.at(name), f"{name} has no counterpart here.", _remedy(name))
    messages = list(_messages(value.get("messages"), source))
    if messages:
        source.prompts.append(ImportedPrompt(name=stem, messages=tuple(messages), location=location.at("messages")))
    parameters = dict(_parameters(value.get("modelParameters"), source))
    model = value.get("model")
    if isinstance(model, str) and model:
        source.providers.append(Provider(name=model, parameters=parameters, location=location.at("model")))
    elif model is not None:
        source.refuse(location.at("model"), "this is not the name of a model.", "Write one: openai/gpt-4o-mini.")
    assertions = tuple(_assertions(value.get("evaluators"), source))
    source.tests += _tests(value.get("testData"), assertions, source)
    if assertions and not source.tests:
        remedy = "Add testData, or leave the evaluators out."
        source.refuse(location.at("evaluators"), "there is no test data to evaluate.", remedy)
    return source


def _remedy(name: str) -> str:
    if name in ("responseFormat", "jsonSchema"):
        return "Assert the form of an answer instead: {type: is-json, value: the schema}."
    return UNKNOWN


def _messages(value: Any, source: SourceConfig) -> Iterator[tuple[str, str]]:
    at = source.location.at("messages")
    if not isinstance(value, list) or not value:
        source.refuse(at, "there are no messages.", "Add messages: a list of role and content.")
        return
    for index, item in enumerate(value):
        role, content = (item.get("role"), item.get("content")) if isinstance(item, dict) else (None, None)
        if role in ROLES and isinstance(content, str) and content:
            yield str(role), content
        else:
            remedy = f"A message has a role ({', '.join(ROLES)}) and a content, which is text."
            source.refuse(at.at(index), "this message cannot be used.", remedy)


def _parameters(value: Any, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    at = source.location.at("modelParameters")
    if value is not None and not isinstance(value, dict):
        source.refuse(at, "these are not parameters.", "Write them as a mapping.")
    for name, parameter in value.items() if isinstance(value, dict) else ():
        if name in PARAMETERS:
            yield PARAMETERS[name], [parameter] if name == "stop" and isinstance(parameter, str) else parameter
        else:
            source.refuse(at.at(name), f"prompts have no parameter {name}.", UNKNOWN)


def _tests(value: Any, assertions: tuple[ImportedAssertion, ...], source: SourceConfig) -> Iterator[ImportedTest]:
    for index, row in enumerate(source.listed(value, source.location.at("testData"))):
        at = source.location.at("testData", index)
        if isinstance(row, dict):
            yield ImportedTest(row=row, assertions=assertions, location=at)
        else:
            source.refuse(at, "this is not a row.", "Write it as a mapping of columns: input: …")


def _assertions(value: Any, source: SourceConfig) -> Iterator[ImportedAssertion]:
    for index, evaluator in enumerate(source.listed(value, source.location.at("evaluators"))):
        at = source.location.at("evaluators", index)
        if not isinstance(evaluator, dict):
            source.refuse(at, "this is not an evaluator.", "Write it as a mapping: name, and string, llm or uses.")
        elif isinstance(evaluator.get("string"), dict):
            yield from _strings(evaluator["string"], str(evaluator.get("name") or ""), at.at("string"), source)
        elif isinstance(evaluator.get("llm"), dict):
            yield _rubric(evaluator["llm"], str(evaluator.get("name") or ""), at.at("llm"), source)
        else:
            name = evaluator.get("uses") or evaluator.get("name") or "this evaluator"
            remedy = "Assert rouge-n or levenshtein with {{ expected }} instead, or write a rubric (llm)."
            source.refuse(at, f"{name} is not known here.", remedy)


def _strings(
    fields: Mapping[str, Any], name: str, at: SourceLocation, source: SourceConfig
) -> Iterator[ImportedAssertion]:
    """Translate assertions on the text. Only `equals` is case-sensitive."""
    for word, value in fields.items():
        text = str(value)
        translated = {
            "equals": ("equals", text),
            "contains": ("icontains", text),
            "startsWith": ("regex", rf"(?i)\A{_quoted(text)}"),
            "endsWith": ("regex", rf"(?i){_quoted(text)}\z"),
        }.get(word)
        if translated is None:
            source.refuse(at.at(word), f"string has no {word} here.", "Use equals, contains, startsWith or endsWith.")
        elif translated[0] == "regex" and "{{" in text:
            what = f"{word} cannot contain a column: the column would be a regular expression."
            source.refuse(at.at(word), what, "Write it out, or use contains.")
        else:
            type_, pattern = translated
            yield ImportedAssertion(fields={"type": type_} | _metric(name), value=pattern, location=at.at(word))


def _quoted(text: str) -> str:
    """Write a text as a regular expression that matches exactly it, and that is no template."""
    return re.sub(r"[^A-Za-z0-9 _\-,;:'\"<>=/!@%&~`]", lambda sign: rf"\x{{{ord(sign[0]):x}}}", text)


def _metric(name: str) -> dict[str, str]:
    """Use the name of an evaluator as that of a metric, if it is valid there."""
    return {"metric": name} if name and "," not in name and "{" not in name and len(name) <= 100 else {}  # noqa: PLR2004


def _rubric(fields: Mapping[str, Any], name: str, at: SourceLocation, source: SourceConfig) -> ImportedAssertion:
    """Translate the prompt of a judge: here the judge gets the question and the answer anyway, beside the rubric."""
    parts = [str(fields[part]).strip() for part in ("systemPrompt", "prompt") if fields.get(part)]
    text = re.sub(r"\{\{\s*completion\s*\}\}", "(the answer)", "\n\n".join(parts))
    choices = source.listed(fields.get("choices"), at.at("choices"))
    listed = ", ".join(str(choice.get("choice")) for choice in choices if isinstance(choice, dict))
    what = (
        "the judge gets the question, the answer and this text, and answers whether it holds, with a score from 0 to 1"
    )
    source.remark(at, f"{what}{f', not one of {listed}' if listed else ''}.", "Review the rubric.")
    judge = str(fields.get("modelId") or "")
    return ImportedAssertion(fields={"type": "llm-rubric"} | _metric(name), value=text, judge=judge, location=at)


FORMAT = Format(title="GitHub's .prompt.yml", recognises=recognises, read=read)
