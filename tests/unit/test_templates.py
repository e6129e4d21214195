"""Prompt templates in their sandbox."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmops.language import jinja
from llmops.language.jinja import InvalidTemplate


def test_a_template_is_filled_in() -> None:
    source = "{% for one in items %}{{ loop.index }}. {{ one|upper }}\n{% endfor %}{{ name.strip() }}"

    assert jinja.render(source, {"items": ["a", "b"], "name": " x "}) == "1. A\n2. B\nx"
    assert jinja.variables(source) == {"items", "name"}


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
    with pytest.raises(InvalidTemplate):
        jinja.render(source, {"a": "b\n\nc"})


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
    with pytest.raises(InvalidTemplate) as error:
        jinja.variables(source)

    assert error.value.line == line


def test_nothing_is_evaluated_while_a_template_is_checked() -> None:
    assert jinja.variables("{{ 'x' * 9999 * 9999 * 9999 }}{{ 1 // 0 }}{{ a }}") == {"a"}


def test_a_template_that_would_grow_does_not_while_it_is_checked() -> None:
    grows = "|replace('x', 'xxxxxxxxxx')" * 7

    tracemalloc.start()
    jinja.variables(f"{{{{ 'x'{grows} }}}}")
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
        jinja.variables(source)
    except InvalidTemplate:
        return
    jinja.render("{% if false %}" + source + "{% endif %}", {})


@given(sources | plain.map("".join))
def test_the_variables_are_those_that_jinja_looks_up(source: str) -> None:
    try:
        found = jinja.variables(source)
    except InvalidTemplate:
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
        jinja.variables("{{ a" + deeper * depth + " }}")
    except InvalidTemplate:
        return
    assert not jinja.render(source, {})


def test_a_text_that_grows_too_long_is_cut_off() -> None:
    with pytest.raises(InvalidTemplate, match="characters"):
        jinja.render("{% for a in text %}{{ text }}{% endfor %}", {"text": "x" * 1000})


DOUBLED = "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60
ENDLESS = {
    "loops": "{% for a in v %}{% for b in v %}{% for c in v %}{% endfor %}{% endfor %}{% endfor %}",
    "loops that take nothing": "{% for a in v %}{% for b in v if false %}{% endfor %}{% endfor %}",
    "calls": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "calls in calls": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "loops in loops": "{% for a in [[1]] recursive %}{{ loop([[1], [1]]) }}{% endfor %}",
    "blocks": "{% macro m() %}{% for a in v %}{{ caller() }}{% endfor %}{% endmacro %}" + "{% call m() %}" * 3 + "{% endcall %}" * 3,
    "~": "{% set a = v %}" + "{% set a = a ~ a %}" * 60,
    "+": "{% set a = v %}" + "{% set a = a + a %}" * 60,
    "lists": "{% set a = [1] %}" + "{% set a = a + a %}" * 60,
    "set": "{% set a = v %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60,
    "text in a loop": "{% set a %}{% for a in v %}" + "z" * 90_000 + "{% endfor %}{% endset %}",
    "lists of lists": DOUBLED + "{{ a }}",
    "lists of lists as text": DOUBLED + "{{ a|string|length }}",
    "lists of lists as JSON": DOUBLED + "{{ a|tojson|length }}",
    "lists of lists, compared": DOUBLED + "{% set b = a %}" + DOUBLED + "{{ a == b }}",
    "lists of lists, joined": DOUBLED + "{{ (a ~ '')|length }}",
    "keys": DOUBLED.replace("[", "(").replace("]", ",)") + "{{ {a: 1} }}",
    "looked up": DOUBLED.replace("[", "(").replace("]", ",)") + "{{ d[a] is defined }}",
    "in": "{% set l = v|list %}{% for a in l %}{% if 'y' in l %}{% endif %}{% endfor %}",
    "slices": "{% set l = v|list %}{% for a in l %}{% set z = l[1:] %}{% endfor %}",
    "replace": "{{ v|replace('x', v)|length }}",
    "join": "{{ v|list|join(v)|length }}",
    "join of a map": "{{ v|map('upper')|join(d=v)|length }}",
    "indent": "{{ lines|indent(10000 * 100)|length }}",
    "indent by text": "{{ lines|indent(width=v)|length }}",
    "tojson": "{{ v|list|tojson(indent=10000)|length }}",
    "split": "{% for a in v %}{% set z = v.split('x') %}{% endfor %}",
}  # fmt: skip


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_would_not_end_is_ended(source: str) -> None:
    assert jinja.variables(source) <= {"v", "lines", "d"}
    begun = time.process_time()

    with pytest.raises(InvalidTemplate, match=r"takes more than|calls itself too deep"):
        jinja.render(source, {"v": "x" * 3000, "lines": "a\n" * 1000, "d": {}})
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    "source",
    [
        "{% if a %}" + "{% elif a %}" * 16_000 + "{% endif %}",
        "{{ [" + "1," * 90_000 + "] }}",
        "".join(f"{{{{ a{number} }}}}" for number in range(8000)) + "{% if a %}x{% endif %}" * 5000,
        "".join(f"{{% macro a{number}() %}}{{% endmacro %}}" for number in range(5000)),
        "{{ " + "(" * 90_000 + "a" + ")" * 90_000 + " }}",
        "{{ a" + "|e" * 90_000 + " }}",
    ],
    ids=["branches", "items", "names", "macros", "depth", "filters"],
)
def test_a_template_that_takes_long_to_compile_is_refused(source: str) -> None:
    begun = time.process_time()

    with pytest.raises(InvalidTemplate, match=r"expressions and tags|recursion depth"):
        jinja.variables(source)
    assert time.process_time() - begun < 20


def test_a_list_can_only_be_summed_up_to_a_number() -> None:
    with pytest.raises(InvalidTemplate, match="sum is only for numbers"):
        jinja.render("{{ [v, v]|sum(start=[]) }}", {"v": [1]})
    assert jinja.render("{{ v|sum }} {{ v|sum(start=2) }}", {"v": [1, 2]}) == "3 5"


def test_steps_are_counted_for_each_rendering() -> None:
    source = "{% for a in v %}{{ a }}{% endfor %}"

    for _ in range(8):
        assert len(jinja.render(source, {"v": "x" * 30_000})) == 30_000


def test_the_usual_filters_and_tests_do_as_in_jinja() -> None:
    source = (
        "{% for m in turns if m.role != 'system' %}{{ loop.index }}/{{ loop.length }} {{ m['role']|upper }}: "
        "{{ m.content|trim|replace('a', 'b', 1) ~ '!' }}\n{% endfor %}"
        "{{ turns|map(attribute='role')|join(', ') }} {{ turns|length > 2 }} {{ 'x' in ['x'] }} {{ [3, 1]|sort|first }} "
        "{{ {'b': [1, 2]}|tojson }} {{ (1 + 2) * 3 }} {{ 'a' + 'b' }} {{ none is none }} {{ 'abc'[1:] }} {{ 7 is odd }}"
        "{% macro em(t) %}<{{ t }}>{% endmacro %}{{ em('y') }}{{ 'l1\nl2'|indent(2) }}{{ 3.14159|round(2) }}"
    )
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": " aa "}, {"role": "ai", "content": "c"}]

    assert jinja.render(source, {"turns": turns}) == (
        '1/2 USER: ba!\n2/2 AI: c!\nsystem, user, ai True True 1 {"b": [1, 2]} 9 ab True bc True<y>l1\n  l23.14'
    )
