"""Reads promptfoo's configuration: prompts, providers, tests and assertions.

The format: https://www.promptfoo.dev/docs/configuration/reference/.

Pure.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llmops.importing.formats import _promptfoo_tests
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
"""Fields that say how promptfoo shows and keeps results; they have no effect here."""
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
    """Whether a file is one: by its name, or because it has prompts and providers or tests."""
    name = posixpath.basename(path)
    return name.startswith("promptfooconfig.") or ("prompts" in value and bool(value.keys() & {"providers", "tests"}))


def read(location: SourceLocation, value: Mapping[str, Any]) -> SourceConfig:
    stem = posixpath.basename(location.path).rpartition(".")[0]
    folder = posixpath.basename(posixpath.dirname(location.path))
    name = folder or "promptfoo" if stem == "promptfooconfig" else stem
    source = SourceConfig(name=name, location=location, description=str(value.get("description") or ""))
    for field in sorted(value.keys() - FIELDS):
        if field in IDLE:
            source.remark(location.at(field), f"{field} has no effect here: it is left out.")
        else:
            remedy = "Leave it out, or express it in the specs in another way."
            source.refuse(location.at(field), f"{field} has no counterpart here.", remedy)
    _options(value.get("evaluateOptions"), source)
    for number, (entry, at) in enumerate(_entries(value.get("prompts"), location.at("prompts"), source)):
        source.prompts += _prompts(entry, at, f"prompt-{number + 1}", source)
    providers = "providers" if "providers" in value else "targets"
    for entry, at in _entries(value.get(providers), location.at(providers), source):
        source.providers += _providers(entry, at, source)
    source.tests += _promptfoo_tests.tests(value, source)
    return source


def _options(value: Any, source: SourceConfig) -> None:
    options = value if isinstance(value, dict) else {}
    source.trials = options.get("repeat", 1) if isinstance(options.get("repeat", 1), int) else 1
    for name in sorted(options.keys() - {"repeat"}):
        at = source.location.at("evaluateOptions", name)
        if name in IDLE_OPTIONS:
            source.remark(at, f"{name} has no effect here: it is left out.")
        else:
            source.refuse(at, f"{name} has no counterpart here.", "Leave it out.")


def _entries(value: Any, at: SourceLocation, source: SourceConfig) -> Iterator[tuple[Any, SourceLocation]]:
    """Yield the items of a list, a single value, or the items of the file that is referenced instead."""
    if isinstance(value, str) and value.startswith("file://") and value.endswith((".yaml", ".yml")):
        try:
            value, at = load(at, value)
        except Unloadable as error:
            source.refuse(at, str(error), WRITE_OUT)
            return
    if isinstance(value, list):
        yield from ((item, at.at(index)) for index, item in enumerate(value))
    elif value is not None:
        yield value, at


# Prompts


def _prompts(entry: Any, at: SourceLocation, name: str, source: SourceConfig) -> Iterator[ImportedPrompt]:
    """Read one entry of the prompts; a file may hold several prompts."""
    fields = entry if isinstance(entry, dict) else {"raw": entry}
    for field in sorted(fields.keys() - {"raw", "id", "label"}):
        source.refuse(at.at(field), f"a prompt has no {field} here.", "Use the parameters of the Prompt.")
    prompt = fields.get("raw", fields.get("id"))
    label = str(fields.get("label") or "")
    if not isinstance(prompt, str) or not prompt.strip():
        source.refuse(at, "this is not a prompt.", WRITE_OUT)
    elif _is_file(prompt):
        yield from _of_file(prompt, at, label, source)
    elif re.match(r"(exec|langfuse|portkey|helicone)(:|://)", prompt) or prompt.endswith((".py", ".js", ".sh")):
        source.refuse(at, f"{prompt} is a program, or is stored in another system.", WRITE_OUT)
    else:
        yield from _of_text(prompt, at, label or name, source)


def _is_file(prompt: str) -> bool:
    return (
        "\n" not in prompt
        and "{{" not in prompt
        and (prompt.startswith("file://") or prompt.endswith((*TEXTS, ".json")))
    )


def _of_file(reference: str, at: SourceLocation, label: str, source: SourceConfig) -> Iterator[ImportedPrompt]:
    path = at.beside(reference)
    name = label or posixpath.basename(path).rpartition(".")[0]
    if "*" in path or path.endswith((".py", ".js", ".mjs", ".cjs", ".ts", ".csv")) or ".py:" in path:
        source.refuse(at, f"{reference} is not a single text file.", WRITE_OUT)
    elif path not in at.files:
        source.refuse(at, f"there is no file {path}.", "Add it, or correct the path.")
    elif path.endswith(CHATS):
        yield from _of_chat(reference, at, name, source)
    else:
        yield from _of_template(reference, at, name, source)


def _of_template(reference: str, at: SourceLocation, name: str, source: SourceConfig) -> Iterator[ImportedPrompt]:
    """Read a text file, which may hold several prompts."""
    try:
        parts = [part.strip("\n") for part in re.split(r"(?m)^---\n", text(at, reference)) if part.strip()]
    except Unloadable as error:
        source.refuse(at, str(error), "Correct the file.")
        return
    if len(parts) == 1:
        yield ImportedPrompt(name=name, path=at.beside(reference), location=at)
    else:
        yield from (ImportedPrompt(name=f"{name}-{n}", text=part, location=at) for n, part in enumerate(parts, 1))


def _of_text(prompt: str, at: SourceLocation, name: str, source: SourceConfig) -> Iterator[ImportedPrompt]:
    """Read a prompt that is written out; a list of messages may be written as JSON."""
    if prompt.lstrip().startswith("["):
        try:
            yield from _of_messages(msgspec.json.decode(prompt), at, name, source)
            return
        except (msgspec.DecodeError, RecursionError):
            pass  # a text that begins with a bracket
    yield ImportedPrompt(name=name, text=prompt.rstrip("\n"), location=at)


def _of_chat(reference: str, at: SourceLocation, name: str, source: SourceConfig) -> Iterator[ImportedPrompt]:
    try:
        messages, _ = load(at, reference)
    except Unloadable as error:
        source.refuse(at, str(error), "Correct the file: a list of messages, each with role and content.")
    else:
        yield from _of_messages(messages, at, name, source)


def _of_messages(value: Any, at: SourceLocation, name: str, source: SourceConfig) -> Iterator[ImportedPrompt]:
    items = value if isinstance(value, list) else []
    turns = [(item.get("role"), item.get("content")) for item in items if isinstance(item, dict)]
    messages = [
        (str(role), content) for role, content in turns if role in ROLES and isinstance(content, str) and content
    ]
    if messages and len(messages) == len(items):
        yield ImportedPrompt(name=name, messages=tuple(messages), location=at)
    else:
        remedy = f"A message has a role ({', '.join(ROLES)}) and a content, which is text."
        source.refuse(at, "these messages cannot be used.", remedy)


# Providers


def _providers(entry: Any, at: SourceLocation, source: SourceConfig) -> Iterator[Provider]:
    """Read one entry of the providers: a name, a mapping with an id, or a mapping whose only key is the id."""
    fields = entry if isinstance(entry, dict) else {"id": entry}
    if "id" not in fields and len(fields) == 1:
        name, inner = next(iter(fields.items()))
        fields = {"id": name} | (inner if isinstance(inner, dict) else {})
    name = fields.get("id")
    if not isinstance(name, str) or name.startswith("file://"):
        source.refuse(at, "this is not the name of a model.", "Write it out: id, and config with its parameters.")
        return
    for field in sorted(fields.keys() - {"id", "config", "label"}):
        source.refuse(at.at(field), f"a provider has no {field} here.", "Leave it out.")
    if "label" in fields:
        source.remark(at.at("label"), "models keep their own names here: the label is left out.")
    config = fields.get("config")
    if config is not None and not isinstance(config, dict):
        source.refuse(at.at("config"), "these are not parameters.", "Write them as a mapping.")
    parameters = dict(_parameters(config if isinstance(config, dict) else {}, at.at("config"), source))
    yield Provider(name=name, parameters=parameters, location=at)


def _parameters(config: Mapping[str, Any], at: SourceLocation, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if name in PARAMETERS:
            yield PARAMETERS[name], [value] if name == "stop" and isinstance(value, str) else value
        else:
            source.refuse(at.at(name), f"prompts have no parameter {name}.", "Leave it out.")


FORMAT = Format(title="promptfoo's configuration", recognises=recognises, read=read)
