"""What is read without Jinja is what Jinja reads; anything else is left to it."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops.language import jinja, jinja_variables
from llmops.language.jinja_variables import InvalidTemplate
from tests.conftest import examples

NAMES = (
    "a b _ name x2 é class for import true None not in self loop super caller range namespace a.b a.b.c a.0 a.if a..b .a "
    "a. 2a a|upper a[0] a() -a a- +a 'a' 1 {}"
).split()
PARTS = st.sampled_from(
    [
        "text",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\v",
        "\xa0",
        "{",
        "}",
        "{{",
        "}}",
        "{{{",
        "}}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "-",
        "raw",
        *NAMES,
    ]
) | st.builds(
    "{{{{{}{}{}}}}}".format,
    st.sampled_from(["", " ", "  ", "\n", "- ", "+ ", "\xa0"]),
    st.sampled_from(NAMES),
    st.sampled_from(["", " ", "\n", " -", " b", "\v"]),
)


def by_jinja(source: str) -> frozenset[str] | None:
    try:
        return jinja.variables(source)
    except InvalidTemplate:
        return None


@settings(max_examples=examples(500))
@given(st.lists(PARTS, max_size=6).map("".join))
@example("{{ a }}" * (jinja_variables.MOST_NAMES + 1))
@example("x" * (jinja_variables.MOST_CHARACTERS + 1))
@example("{{ a" + ".b" * 300 + " }}")
def test_names_are_those_that_jinja_finds(source: str) -> None:
    found = jinja_variables.plain(source)

    assert found is None or found == by_jinja(source)


def test_every_word_alone_is_read_as_jinja_reads_it() -> None:
    for name in {*NAMES, *jinja_variables._OTHERS}:
        source = f"Say {{{{ {name} }}}}."
        found = jinja_variables.plain(source)
        assert found is None or found == by_jinja(source), name


def test_most_prompts_need_no_jinja() -> None:
    program = (
        "import sys; from llmops.language import jinja_variables as placeholders; "
        "assert placeholders.variables('Ask {{ who }}: {{question}} {{ a.b }}') == {'who', 'question', 'a'}; "
        "assert 'jinja2' not in sys.modules; "
        "assert placeholders.variables('{% if a %}{{ b }}{% endif %}') == {'a', 'b'}; "
        "assert 'jinja2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
