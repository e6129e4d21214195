"""Whatever the bytes of a file are, a commit gives specs or problems: nothing crashes, nothing hangs."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llmops.language import jinja
from llmops.language.jinja import InvalidTemplate
from tests.laws.strategies import BOUNDED, FILES, VALUES, specs_or_problems
from tests.trees import Tree, spec, system

FIELDS = (
    "task",
    "include",
    "dataset_path",
    "dataset_kwargs",
    "data_files",
    "output_type",
    "metric_list",
    "doc_to_text",
)
TASKS = st.dictionaries(st.sampled_from(FIELDS), VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2))
EVALUATION = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/any.yaml}]}")
HEADS = {path: text.partition(b"spec:")[0] for path, text in system().items() if path.startswith("specs/")}


@BOUNDED
@given(FILES)
def test_any_bytes_as_a_spec_give_specs_or_problems(data: bytes) -> None:
    assert specs_or_problems(Tree({**system(), "specs/any.yaml": data}))


@BOUNDED
@given(FILES | TASKS.map(msgspec.json.encode))
def test_any_bytes_as_a_task_give_specs_or_problems(data: bytes) -> None:
    assert specs_or_problems(Tree({**system(), "specs/e.yaml": EVALUATION, "evals/any.yaml": data}))


@BOUNDED
@given(st.data())
def test_any_value_in_a_spec_gives_specs_or_problems(data: st.DataObject) -> None:
    """A field of one of the specs that are right holds something else."""
    path = data.draw(st.sampled_from(sorted(HEADS)))
    document = msgspec.yaml.decode(system()[path])
    _mutate(document["spec"], data)

    assert specs_or_problems(Tree({**system(), path: msgspec.json.encode(document)}))


SETTINGS = {
    "specs": ["specs"],
    "environment": "local",
    "ledger": {"results": "refs/llmops/results", "releases": "refs/llmops/releases", "remote": "origin"},
    "store": {"url": "file:///x"},
    "runner": {"type": "local", "address": "http://x", "python": "python", "parallel": 1},
    "gateway": {"host": "127.0.0.1", "port": 0, "drain": "1s"},
    "trust": "none",
}


@BOUNDED
@given(st.sampled_from(["llmops.yaml", "llmops.lock"]), FILES)
def test_any_bytes_as_settings_or_lock_give_specs_or_problems(path: str, data: bytes) -> None:
    assert specs_or_problems(Tree({**system(), path: data}))


@BOUNDED
@given(st.data())
def test_any_value_in_the_settings_gives_specs_or_problems(data: st.DataObject) -> None:
    spec_ = msgspec.json.decode(msgspec.json.encode(SETTINGS))
    _mutate(spec_, data)
    document = {"apiVersion": "llmops/v1alpha1", "kind": "Settings", "spec": spec_}

    assert specs_or_problems(Tree({**system(), "llmops.yaml": msgspec.json.encode(document)}))


@BOUNDED
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=3) | VALUES)
def test_any_value_as_pins_gives_specs_or_problems(pins: Any) -> None:
    assert specs_or_problems(Tree({**system(), "llmops.lock": msgspec.json.encode({"pins": pins})}))


TAGS = (
    "{{ }} {% %} {# #} - if elif else endif for in endfor macro endmacro call endcall set endset raw endraw filter "
    "include 'x' block recursive question loop self . | ( ) [ ] { } ~ + * ** // == not and is defined 1 9999 'a' "
    "upper replace join tojson namespace __class__"
).split()
TEMPLATES = st.lists(st.sampled_from([*TAGS, "\n", " ", "\x00", "é"]), max_size=40).map(" ".join)
WHOLE = st.recursive(
    st.sampled_from(["{{ question }}", "a", "{{ question|upper ~ 1 }}", "{% set a = question %}{{ a }}"]),
    lambda inner: st.tuples(
        st.sampled_from(["{% if question %}", "{% for a in question %}", "{% macro m() %}", "{% filter upper %}"]),
        inner,
        inner,
    ).map(lambda parts: f"{parts[0]}{parts[1]}{{% end{parts[0].split()[1]} %}}{parts[2]}"),
    max_leaves=12,
)


@BOUNDED
@given(FILES | TEMPLATES.map(str.encode) | WHOLE.map(str.encode))
def test_any_bytes_as_a_template_give_specs_or_problems(data: bytes) -> None:
    assert specs_or_problems(Tree({**system(), "prompts/ask.jinja": data}))


@BOUNDED
@given(TEMPLATES | WHOLE | st.text(max_size=100), VALUES)
def test_any_template_gives_a_text_or_says_why_not(source: str, value: Any) -> None:
    for fill in (lambda: jinja.variables(source), lambda: jinja.render(source, {"question": value})):
        try:
            fill()
        except InvalidTemplate as error:
            said = error.what
        else:
            continue
        assert said.endswith(".")


def _mutate(spec: dict[str, Any], data: st.DataObject) -> None:
    """Put any value into a field, or into one below it."""
    name = data.draw(st.sampled_from(sorted(spec)))
    inside = spec[name]
    if isinstance(inside, dict) and inside and data.draw(st.booleans()):
        _mutate(inside, data)
    else:
        spec[name] = data.draw(VALUES)
