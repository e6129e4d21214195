"""What is read line by line is what libyaml reads: values, types, order of keys, documents and their lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops.language import yaml_fast, yaml_reader
from tests.conftest import ROOT, examples

BOUNDED = settings(max_examples=examples(400))

SPECS = [
    path.read_text()
    for folder in ("specs", "demo/system", "evals", "docs/examples", "tests/golden", "llmops/scaffold")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
]
SIMPLE = (
    "x no yes on null ~ true FALSE 0 -1 +1 010 0o17 0o8 0x1F -0x1 1e3 2e-4 2.0e-3 1. .5 -.5 +.5e1 .. 1_000 -0 -0.0 00 1.0 "
    '.nan .inf -.inf << 12e03 0b1 0.1.2 2024-01-01 99999999999999999999999 (a) = $x é \'it\' "a" \'a[b]\' "a,b" "#" \'\' "" '
    "/x/y a@b a=b a|b <a> null1 truely 1e5x +x"
).split()
WORDS = ["two words", "a  b", "'a: b'", '"a # b"', "x" * 900, "9" * 100]
IN_BLOCKS = "1:30 a:b http://x/y?z=1#f a,b a#b a&b *a a[b] a{b} it's a\"b a!b 100% a? a*b \\d+ x- -.5a".split()
ODD = [
    *(
        "-x : :x a: # #a - -- --- ... : ? \xa0 \x85 \u2028 \ufeff \x00 \x7f \x1b \t \r [ ] { } , & &a * *a ! !!str !t | > |- % @ ` "
        "1e999 -1e999 ' \" 'a''b' \"a\\n\" \"a\"b {a:1} [a:b] [a,,b] {a,b} {a} [a]b \n \n\n \n--- \n... \n#c true: ~: 1: <<: ?"
    ).split(" "),
    *["- a", "a: b", "a #b", "\n  ", "\n- ", " #", "  ", "9" * 101, '"' + "x" * 1100 + '"', "x" * 1100],
]
KEYS = st.sampled_from("a b name r2 base_model x.y/z no nullable e-3 é".split())
SCALARS = st.sampled_from([*SIMPLE, *WORDS])
FLOW = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: f"[ {','.join(items)} , ]")
        | st.dictionaries(KEYS, inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=4,
)
VALUES = st.sampled_from([*SIMPLE, *WORDS, *IN_BLOCKS]) | FLOW
ENDS = st.sampled_from(["", "", "", " ", " # c", "  #é: - [", "\n", "\n# c", "\n   # c: d\n\n  "])


@st.composite
def entries(draw: st.DrawFn, column: int = 0, depth: int = 0) -> list[str]:
    """Lines of a mapping or of a sequence."""
    made: list[str] = []
    sequence = draw(st.booleans())
    for key in draw(st.lists(KEYS, min_size=1, max_size=3, unique=True)):
        head = " " * column + (draw(st.sampled_from(["- ", "-   "])) if sequence else f"{key}:")
        holds = depth < 3 and draw(st.booleans())
        if not holds:
            made.append(f"{head} {draw(VALUES)}{draw(ENDS)}")
        elif sequence and draw(st.booleans()):  # behind the dash
            inner = draw(entries(column=len(head), depth=depth + 1))
            made += [head + inner[0].lstrip(" "), *inner[1:]]
        else:
            deeper = column + draw(st.sampled_from([0, 1, 2, 2, 2, 4]))
            made += [head + draw(ENDS), *draw(entries(column=deeper, depth=depth + 1))]
    return made


DOCUMENTS = entries().map("\n".join)
WELL_FORMED = DOCUMENTS | st.lists(DOCUMENTS, min_size=1, max_size=3).map(
    lambda all_: "---\n" + "\n---\n".join(all_) + "\n"
)
PIECES = st.sampled_from([*SIMPLE, *IN_BLOCKS, *ODD])
RAW = st.lists(PIECES, max_size=12).map("".join)


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text in which a few places say something else."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(PIECES) + text[at + draw(st.sampled_from([0, 0, 1, 2, 8, 40])) :]
    return text


REAL = mutated(st.sampled_from(SPECS))
TEXTS = WELL_FORMED | mutated(WELL_FORMED) | REAL | RAW


def by_libyaml(text: str) -> list[tuple[Any, int]] | str:
    try:
        return [(document.value, document.line) for document in yaml_reader.parse(text)]
    except yaml_reader.Unreadable as error:
        return error.what


@BOUNDED
@example("a: x ")  # CPython 3.11.4 and older match possessive groups wrongly
@given(TEXTS)
def test_a_text_is_left_unread_or_read_as_libyaml_reads_it(text: str) -> None:
    found = yaml_fast.read(text)

    if found is not None:
        assert repr([*found]) == repr(by_libyaml(text))  # repr tells 1 from 1.0 and True, and keeps the order of keys


@BOUNDED
@given(REAL)
def test_the_same_bytes_are_read_or_refused_however_they_are_read(text: str) -> None:
    try:
        found: Any = [(document.value, document.line) for document in yaml_reader.load(text.encode())]
    except yaml_reader.Unreadable as error:
        found = error.what

    assert repr(found) == repr(by_libyaml(text))


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "specs").glob("*.yaml")), *sorted((ROOT / "demo").rglob("specs/*.yaml"))]
)
def test_specs_as_they_are_written_are_read_line_by_line(path: Path) -> None:
    text = path.read_text()
    found = yaml_fast.read(text)

    assert found is not None
    assert repr([*found]) == repr(by_libyaml(text))
