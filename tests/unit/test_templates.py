"""Prompt templates in their sandbox."""

import pytest

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
    [("{{ a", 1), ("x\n{% if %}", 2), ("{% import 'x' as y %}", 1), ("{{ 99999999 }}", 1), ("x" * 300_000, 1)],
)
def test_a_bad_template_is_found_before_it_is_used(source: str, line: int) -> None:
    with pytest.raises(BadTemplate) as error:
        templates.variables(source)

    assert error.value.line == line


def test_nothing_is_evaluated_while_a_template_is_checked() -> None:
    assert templates.variables("{{ 'x' * 9999 * 9999 * 9999 }}{{ 1 // 0 }}{{ a }}") == {"a"}


def test_a_text_that_grows_too_long_is_cut_off() -> None:
    with pytest.raises(BadTemplate, match="characters"):
        templates.render("{% for a in text %}{{ text }}{% endfor %}", {"text": "x" * 1000})
