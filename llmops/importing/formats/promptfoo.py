"""promptfoo's configuration: prompts, providers, tests and what is asserted of their answers.

The format: https://www.promptfoo.dev/docs/configuration/reference/.

Pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llmops.importing.formats import _promptfoo_tests as tests
from llmops.importing.source_model import (
    Format,
    ImportedPrompt,
    Provider,
    SourceConfig,
    SourceLocation,
    Unloadable,
    load,
    text,
)

FIELDS = frozenset("description prompts providers targets tests scenarios defaultTest evaluateOptions $schema".split())
IDLE = frozenset("tags outputPath sharing writeLatestResults commandLineOptions metadata".split())
"""What says how promptfoo shows and keeps results; it decides nothing here."""
IDLE_OPTIONS = frozenset("maxConcurrency showProgressBar cache delay timeoutMs maxEvalTimeMs".split())
PARAMETERS = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
}
TEXTS = (".txt", ".md", ".j2", ".jinja", ".jinja2")
CHATS = (".json", ".yaml", ".yml")
ROLES = ("system", "user", "assistant")
WRITE_OUT = "Write it out in the file, as text or as a list of messages."


def recognises(path: str, value: Mapping[str, Any]) -> bool:
    """Whether a file is one: by its name, or because it names prompts and what asks them."""
    name = posixpath.basename(path)
    return name.startswith("promptfooconfig.") or ("prompts" in value and bool(value.keys() & {"providers", "tests"}))


def read(spot: SourceLocation, value: Mapping[str, Any]) -> SourceConfig:
    """Say what a configuration means."""
    stem = posixpath.basename(spot.path).rpartition(".")[0]
    folder = posixpath.basename(posixpath.dirname(spot.path))
    name = folder or "promptfoo" if stem == "promptfooconfig" else stem
    found = SourceConfig(name=name, spot=spot, description=str(value.get("description") or ""))
    for field in sorted(value.keys() - FIELDS):
        if field in IDLE:
            found.remark(spot.at(field), f"{field} decides nothing here: it is left out.")
        else:
            remedy = "Leave it out, or say it in the specs in another way."
            found.refuse(spot.at(field), f"{field} has no counterpart here.", remedy)
    _options(value.get("evaluateOptions"), found)
    for number, (one, at) in enumerate(_listed(value.get("prompts"), spot.at("prompts"), found)):
        found.wordings += _wordings(one, at, f"prompt-{number + 1}", found)
    providers = "providers" if "providers" in value else "targets"
    for one, at in _listed(value.get(providers), spot.at(providers), found):
        found.providers += _providers(one, at, found)
    found.cases += tests.cases(value, found)
    return found


def _options(given: Any, found: SourceConfig) -> None:
    options = given if isinstance(given, dict) else {}
    found.trials = options.get("repeat", 1) if isinstance(options.get("repeat", 1), int) else 1
    for name in sorted(options.keys() - {"repeat"}):
        at = found.spot.at("evaluateOptions", name)
        if name in IDLE_OPTIONS:
            found.remark(at, f"{name} decides nothing here: it is left out.")
        else:
            found.refuse(at, f"{name} has no counterpart here.", "Leave it out.")


def _listed(given: Any, at: SourceLocation, found: SourceConfig) -> Iterator[tuple[Any, SourceLocation]]:
    """Give the items of a list, of a single value, or of the file that is named instead."""
    if isinstance(given, str) and given.startswith("file://") and given.endswith((".yaml", ".yml")):
        try:
            given, at = load(at, given)
        except Unloadable as error:
            found.refuse(at, str(error), WRITE_OUT)
            return
    if isinstance(given, list):
        yield from ((one, at.at(index)) for index, one in enumerate(given))
    elif given is not None:
        yield given, at


# Prompts


def _wordings(given: Any, at: SourceLocation, name: str, found: SourceConfig) -> Iterator[ImportedPrompt]:
    """Translate one entry of the prompts; a file may hold several."""
    fields = given if isinstance(given, dict) else {"raw": given}
    for field in sorted(fields.keys() - {"raw", "id", "label"}):
        found.refuse(at.at(field), f"a prompt has no {field} here.", "Say it in the Prompt's parameters.")
    source = fields.get("raw", fields.get("id"))
    label = str(fields.get("label") or "")
    if not isinstance(source, str) or not source.strip():
        found.refuse(at, "this is not a prompt.", WRITE_OUT)
    elif _is_file(source):
        yield from _of_file(source, at, label, found)
    elif re.match(r"(exec|langfuse|portkey|helicone)(:|://)", source) or source.endswith((".py", ".js", ".sh")):
        found.refuse(at, f"{source} is a program, or is kept elsewhere.", WRITE_OUT)
    else:
        yield from _of_text(source, at, label or name, found)


def _is_file(source: str) -> bool:
    return (
        "\n" not in source
        and "{{" not in source
        and (source.startswith("file://") or source.endswith((*TEXTS, ".json")))
    )


def _of_file(source: str, at: SourceLocation, label: str, found: SourceConfig) -> Iterator[ImportedPrompt]:
    path = at.beside(source)
    name = label or posixpath.basename(path).rpartition(".")[0]
    if "*" in path or path.endswith((".py", ".js", ".mjs", ".cjs", ".ts", ".csv")) or ".py:" in path:
        found.refuse(at, f"{source} is no single file of text.", WRITE_OUT)
    elif path not in at.files:
        found.refuse(at, f"there is no file {path}.", "Add it, or correct the path.")
    elif path.endswith(CHATS):
        yield from _of_chat(source, at, name, found)
    else:
        yield from _of_template(source, at, name, found)


def _of_template(source: str, at: SourceLocation, name: str, found: SourceConfig) -> Iterator[ImportedPrompt]:
    """Translate a file of text, which may hold several prompts."""
    try:
        parts = [part.strip("\n") for part in re.split(r"(?m)^---\n", text(at, source)) if part.strip()]
    except Unloadable as error:
        found.refuse(at, str(error), "Correct the file.")
        return
    if len(parts) == 1:
        yield ImportedPrompt(name=name, path=at.beside(source), spot=at)
    else:
        yield from (ImportedPrompt(name=f"{name}-{n}", text=part, spot=at) for n, part in enumerate(parts, 1))


def _of_text(said: str, at: SourceLocation, name: str, found: SourceConfig) -> Iterator[ImportedPrompt]:
    """Translate a prompt that is written out; a list of messages may be written as JSON."""
    if said.lstrip().startswith("["):
        try:
            yield from _of_messages(msgspec.json.decode(said), at, name, found)
            return
        except (msgspec.DecodeError, RecursionError):
            pass  # a text that begins with a bracket
    yield ImportedPrompt(name=name, text=said.rstrip("\n"), spot=at)


def _of_chat(source: str, at: SourceLocation, name: str, found: SourceConfig) -> Iterator[ImportedPrompt]:
    try:
        messages, _ = load(at, source)
    except Unloadable as error:
        found.refuse(at, str(error), "Correct the file: a list of messages, each with role and content.")
    else:
        yield from _of_messages(messages, at, name, found)


def _of_messages(given: Any, at: SourceLocation, name: str, found: SourceConfig) -> Iterator[ImportedPrompt]:
    turns = (
        [(one.get("role"), one.get("content")) for one in given if isinstance(one, dict)]
        if isinstance(given, list)
        else []
    )
    known = [(str(role), text) for role, text in turns if role in ROLES and isinstance(text, str) and text]
    if known and len(known) == len(given):
        yield ImportedPrompt(name=name, messages=tuple(known), spot=at)
    else:
        remedy = f"A message has a role ({', '.join(ROLES)}) and a content, which is text."
        found.refuse(at, "these are no messages that can be used.", remedy)


# Providers


def _providers(given: Any, at: SourceLocation, found: SourceConfig) -> Iterator[Provider]:
    """Translate one entry of the providers: a name, or a mapping with an id, or one whose only key is the id."""
    fields = given if isinstance(given, dict) else {"id": given}
    if "id" not in fields and len(fields) == 1:
        name, inner = next(iter(fields.items()))
        fields = {"id": name} | (inner if isinstance(inner, dict) else {})
    name = fields.get("id")
    if not isinstance(name, str) or name.startswith("file://"):
        found.refuse(at, "this is no name of a model.", "Write it out: id, and config with its parameters.")
        return
    for field in sorted(fields.keys() - {"id", "config", "label"}):
        found.refuse(at.at(field), f"a provider has no {field} here.", "Leave it out.")
    if "label" in fields:
        found.remark(at.at("label"), "models are called by their own names here: the label is left out.")
    config = fields.get("config")
    if config is not None and not isinstance(config, dict):
        found.refuse(at.at("config"), "these are no parameters.", "Write them as a mapping.")
    parameters = dict(_parameters(config if isinstance(config, dict) else {}, at.at("config"), found))
    yield Provider(name=name, parameters=parameters, spot=at)


def _parameters(config: Mapping[str, Any], at: SourceLocation, found: SourceConfig) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if name in PARAMETERS:
            yield PARAMETERS[name], [value] if name == "stop" and isinstance(value, str) else value
        else:
            found.refuse(at.at(name), f"prompts have no parameter {name}.", "Leave it out.")


FORMAT = Format(title="promptfoo's configuration", recognises=recognises, read=read)
