"""What every kind promises: described fields, a schema that agrees with its type, and steps that can be found."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from llmops import registry
from llmops.cli.commands.schema import schemas
from llmops.language import json_schema
from llmops.plugins.kind import Kind
from llmops.specs.parsing import Kinds
from tests.conftest import PLUGINS, ROOT
from tests.trees import Tree, build, spec, system

KINDS = sorted(registry.KINDS)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind[Any]:
    return registry.KINDS[request.param]


def definitions(kind: Kind[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    document = json_schema.document(kind.name, kind.body, registry.PLUGINS)
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
    jsonschema.Draft202012Validator.check_schema(json_schema.document(kind.name, kind.body, registry.PLUGINS))


def test_the_committed_schemas_are_those_of_the_kinds() -> None:
    committed = {path.stem: msgspec.json.decode(path.read_bytes()) for path in (ROOT / "specs/schemas").glob("*.json")}

    assert committed == msgspec.json.decode(msgspec.json.encode(schemas())), "run `make docs`"


def test_the_schema_takes_what_the_type_takes(kind: Kind[Any]) -> None:
    """Every spec of the small system and of the demo, which the type took, is valid by the schema."""
    trees = [system(), demo()]
    bodies = [node.spec.body for tree in trees for key, node in build(tree).nodes.items() if key.kind == kind.name]
    validator = jsonschema.Draft202012Validator(json_schema.document(kind.name, kind.body, registry.PLUGINS))

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
        pytest.skip(f"{kind.name} has no step")
    parent, _, name = kind.step.run.rpartition(".")
    found = importlib.util.find_spec(parent)

    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).with_name(f"{name}.py").exists()
    assert kind.step.version >= 1


def test_its_docstring_reaches_the_schema(kind: Kind[Any]) -> None:
    document = json_schema.document(kind.name, kind.body, registry.PLUGINS)

    assert document["description"].endswith(".")
    assert document["title"] == kind.name


def test_a_kind_is_added_with_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import llmops.kinds

    monkeypatch.setattr(llmops.kinds, "__path__", [*llmops.kinds.__path__, str(PLUGINS / "kinds")])
    kinds: Kinds = registry.KINDS
    tree = Tree(
        {
            "specs/soup.yaml": spec("Dish", "soup", "text: soup"),
            "specs/m.yaml": spec("Dish", "m", "{text: m, of: [soup]}"),
        }
    )

    made = build(tree)

    assert "Dish" in set(kinds)
    assert [str(key) for key in made.nodes] == ["Dish/soup", "Dish/m"]
