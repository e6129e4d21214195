"""What every kind promises: described fields, a schema that agrees with its type, and steps that can be found."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from llmops import registry
from llmops.language import json_schema
from llmops.plugins.fields import ROLE
from llmops.plugins.kind import Kind
from llmops.specs.closures import Kinds
from tests.conftest import PLUGINS, ROOT
from tests.trees import Tree, build, spec, system

KINDS = sorted(registry.PLUGINS.kinds)
EXAMPLES = {
    text.partition("kind: ")[2].partition("\n")[0]: text
    for text in (path.read_text() for path in (ROOT / "llmops" / "kinds").glob("*.example.yaml"))
}
EXAMPLE_FILES = {
    "kb/questions.jsonl": '{"prompt": "1 + 1?", "completion": "2", "question": "1 + 1?"}\n',
    "llmops.lock": f"pins: {{'hf://HuggingFaceTB/SmolLM2-135M-Instruct@main': '{'a' * 40}'}}\n",
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind[Any]:
    return registry.PLUGINS.kinds[request.param]


def definitions(kind: Kind[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    document = json_schema.document(kind.name, kind.body, registry.PLUGINS.choices)
    yield from document["$defs"].items()


def test_every_field_is_described_in_a_line(kind: Kind[Any]) -> None:
    for name, definition in definitions(kind):
        for field, shape in definition.get("properties", {}).items():
            line = shape.get("description", "")
            assert line.endswith((".", "…")), f"{name}.{field}: {line!r}"
            assert "\n" not in line, f"{name}.{field}: {line!r}"


def test_unknown_fields_are_refused_everywhere(kind: Kind[Any]) -> None:
    for name, definition in definitions(kind):
        if definition.get("type") == "object":
            assert definition.get("additionalProperties") is False or "properties" not in definition, name


def test_the_schema_is_a_valid_one(kind: Kind[Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema.document(kind.name, kind.body, registry.PLUGINS.choices))


def test_the_schema_takes_what_the_type_takes(kind: Kind[Any]) -> None:
    """Every spec of the small system and of the demo, which the type took, is valid by the schema."""
    trees = [system(), demo()]
    bodies = [node.spec.body for tree in trees for key, node in build(tree).nodes.items() if key.kind == kind.name]
    validator = jsonschema.Draft202012Validator(json_schema.document(kind.name, kind.body, registry.PLUGINS.choices))

    for body in bodies:
        plain = msgspec.json.decode(msgspec.json.encode(body))
        document = {
            "apiVersion": json_schema.API_VERSION,
            "kind": kind.name,
            "metadata": {"name": "x"},
            "spec": prune(plain),
        }
        assert [error.message for error in validator.iter_errors(document)] == []


def prune(value: Any) -> Any:
    """Leave out what is absent: a type writes None where a spec writes nothing."""
    if isinstance(value, dict):
        return {name: prune(one) for name, one in value.items() if one is not None}
    return [prune(one) for one in value] if isinstance(value, list) else value


def demo() -> Tree:
    folder = ROOT / "demo" / "system"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rows = '{"docstring": "a", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    return Tree({**files, "kb/topics.jsonl": '{"text": "a"}\n', "kb/docstrings.jsonl": rows})


def test_its_step_can_be_found_without_importing_it(kind: Kind[Any]) -> None:
    if kind.step is None:
        pytest.skip(f"{kind.name} has no step of its own")
    parent, _, name = kind.step.run.rpartition(".")
    package = importlib.util.find_spec(parent)

    assert package is not None
    assert package.origin is not None
    assert (Path(package.origin).parent / f"{name}.py").exists()
    assert kind.step.version >= 1


def test_an_example_lies_beside_it_and_all_examples_are_a_system(kind: Kind[Any]) -> None:
    assert f"kind: {kind.name}\n" in EXAMPLES[kind.name]

    tree = Tree({f"specs/{name}.yaml": text for name, text in EXAMPLES.items()} | EXAMPLE_FILES)
    assert {key.kind for key in build(tree).nodes} == set(KINDS)


def test_every_role_that_a_field_asks_for_is_provided(kind: Kind[Any]) -> None:
    text = json.dumps(json_schema.document(kind.name, kind.body, registry.PLUGINS.choices))
    for role in set(re.findall(rf'"{ROLE}": "([^"]+)"', text)):
        assert registry.PLUGINS.kinds_for(role), role


def test_its_docstring_reaches_the_schema(kind: Kind[Any]) -> None:
    document = json_schema.document(kind.name, kind.body, registry.PLUGINS.choices)

    assert document["description"].endswith(".")
    assert document["title"] == kind.name


def test_a_kind_is_added_with_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import llmops.kinds

    monkeypatch.setattr(llmops.kinds, "__path__", [*llmops.kinds.__path__, str(PLUGINS / "kinds")])
    kinds: Kinds = registry.PLUGINS.kinds
    tree = Tree(
        {
            "specs/soup.yaml": spec("Dish", "soup", "text: soup"),
            "specs/m.yaml": spec("Dish", "m", "{text: m, of: [soup]}"),
        }
    )

    made = build(tree)

    assert "Dish" in set(kinds)
    assert [str(key) for key in made.nodes] == ["Dish/soup", "Dish/m"]
