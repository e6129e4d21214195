"""Prompt templates in their sandbox."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmops import templates
from llmops.templates import BadTemplate


def test_a_template_is_filled_in() -> None:
    source = "{% for one in items %}{{ loop.index }}. {{ one|upper }}\n{% endfor %}{{ name.strip() }}"

    assert templates.render(source, {"items": ["a", "b"], "name": " x "}) == "1. A\n2. B\nx"
    assert templates.variables(source) == {"items", "name"}


@pytest.mark.parametrize(
    "source",
    [
        "{{ a.__class__ }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{{ a.format(1) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'x' * 10 }}",
        "{{ 2 ** 100 }}",
        "{{ '%9999d' % 1 }}",
        "{{ missing }}",
        "{{ 1 // 0 }}",
        "{{ a|indent(9000 * 9000) }}",
        "{{ range(10) }}",
        "{{ self._TemplateReference__context }}",
    ],
)
def test_the_sandbox_gives_nothing_away(source: str) -> None:
    with pytest.raises(BadTemplate):
        templates.render(source, {"a": "b\n\nc"})


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("{{ a", 1),
        ("x\n{% if %}", 2),
        ("{% import 'x' as y %}", 1),
        ("{{ 99999999 }}", 1),
        ("{{ 'xy'|indent(99999999) }}", 1),
        ("x" * 300_000, 1),
        ("{{ a|shout }}", 1),
        ("{{ a(b=1, b=2) }}", 1),
        ("{% macro m(a, a) %}{% endmacro %}", 1),
        ("{% for a in b %}" * 25 + "{% endfor %}" * 25, 1),
        ("\n{% autoescape a %}{% endautoescape %}", 2),
    ],
)
def test_a_bad_template_is_found_before_it_is_used(source: str, line: int) -> None:
    with pytest.raises(BadTemplate) as error:
        templates.variables(source)

    assert error.value.line == line


def test_nothing_is_evaluated_while_a_template_is_checked() -> None:
    assert templates.variables("{{ 'x' * 9999 * 9999 * 9999 }}{{ 1 // 0 }}{{ a }}") == {"a"}


def test_a_template_that_would_grow_does_not_while_it_is_checked() -> None:
    grows = "|replace('x', 'xxxxxxxxxx')" * 7

    tracemalloc.start()
    templates.variables(f"{{{{ 'x'{grows} }}}}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1e6


expressions = st.recursive(
    st.sampled_from(["a", "self", "loop", "class", "namespace", "range", "'b'", "7"]),
    lambda inner: st.builds(
        str.replace,
        st.sampled_from(["_.b", "_|trim", "_|default(_)", "_(b=_)", "_(b=_, b=1)", "_[0]", "_ if _", "not _"]),
        st.just("_"),
        inner.map(lambda text: f"({text})"),
    ),
)
pieces = st.sampled_from(
    ["{{ _ }}", "text", "{% set a = _ %}", "{% for a in _ %}", "{% endfor %}", "{% macro a(b, c) %}", "{% endmacro %}"]
)


sources = st.lists(st.builds(str.replace, pieces, st.just("_"), expressions)).map("".join)

plain = st.lists(
    st.sampled_from(["text", "{{ a }}", "{{ self.b }}", "{{ loop }}", "{{ namespace }}", "{{ class.b.c }}"])
)


@given(sources)
def test_what_is_found_right_compiles(source: str) -> None:
    try:
        templates.variables(source)
    except BadTemplate:
        return
    templates.render("{% if false %}" + source + "{% endif %}", {})


@given(sources | plain.map("".join))
def test_the_variables_are_those_that_jinja_looks_up(source: str) -> None:
    try:
        found = templates.variables(source)
    except BadTemplate:
        return
    environment = ImmutableSandboxedEnvironment()
    for name in ("range", "lipsum"):
        del environment.globals[name]
    assert found == meta.find_undeclared_variables(environment.parse(source))


@pytest.mark.parametrize("deeper", [".b", "|trim", "|default(a)", ".b|trim"])
@pytest.mark.parametrize("depth", range(20, 260, 15))
def test_what_is_found_right_compiles_however_deep_it_is(deeper: str, depth: int) -> None:
    source = "{% if false %}{{ a" + deeper * depth + " }}{% endif %}"
    try:
        templates.variables("{{ a" + deeper * depth + " }}")
    except BadTemplate:
        return
    assert not templates.render(source, {})


def test_a_text_that_grows_too_long_is_cut_off() -> None:
    with pytest.raises(BadTemplate, match="characters"):
        templates.render("{% for a in text %}{{ text }}{% endfor %}", {"text": "x" * 1000})
