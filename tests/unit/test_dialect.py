"""One YAML dialect, with bounds."""

import pytest

from llmops.language import yaml_reader


def read(text: str | bytes) -> object:
    return yaml_reader.load(text.encode() if isinstance(text, str) else text)[0].value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("!!float 1", 1.0),
        ("!!null ~", None),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert read(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\na: 2", 2, "duplicated"),
        ("1: a", 1, "not a string"),
        ("<<: {}", 1, "merge"),
        ("a: !!python/object:os.system x", 1, "tag"),
        ("a: !!int foo", 1, "tag"),
        ("a: &x [*x]", 1, "alias"),
        ("a: [1", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        (b"\xff\xfe", 1, "not UTF-8"),
        (b"a: 1\nb: \xff", 2, "not UTF-8"),
        ("a: 1e999", 1, "too large"),
        ("a: 1\nb: -1e999", 2, "too large"),
        ("[" * 10_000, 1, "nested"),
        ("? " * 50_000, 1, "nested"),
        ("? [a]\n: 1", 1, "not a string"),
        ("a: !!seq {}", 1, "tag"),
        ("a: 1\nb: *x", 2, "no anchor"),
        ("a: &x 1\nb: &x 2", 2, "duplicated"),
        ("a: &x [1]\nb: " + "[" * 49 + "*x" + "]" * 49, 2, "nested"),
        ("- " * 200 + "x", 1, "nested"),
        ("k: " + "9" * 5000, 1, "digits"),
        ("\x00", 0, "not YAML"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str | bytes, line: int, words: str) -> None:
    with pytest.raises(yaml_reader.Unreadable) as error:
        read(text)

    assert (error.value.line, words in error.value.what) == (line, True), error.value.what


def test_aliases_of_aliases_are_as_deep_as_what_they_stand_for() -> None:
    chain = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 5000))])

    with pytest.raises(yaml_reader.Unreadable, match="nested"):
        read(chain)


def test_a_tag_is_read_only_where_it_is_asked_for() -> None:
    assert yaml_reader.load(b"a: !upper x", {"!upper": str.upper})[0].value == {"a": "X"}
    with pytest.raises(yaml_reader.Unreadable, match="!upper is not allowed"):
        read("a: !upper x")


def test_a_few_aliases_are_fine() -> None:
    assert read("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    assert read("a: &x k\n*x : 1") == {"a": "k", "k": 1}


def test_an_alias_is_a_copy() -> None:
    value = read("a: &x [{b: [1]}]\nc: *x")
    assert isinstance(value, dict)
    value["a"][0]["b"].append(2)

    assert value["c"] == [{"b": [1]}]


def test_a_file_over_the_limit_is_refused_by_its_size() -> None:
    with pytest.raises(yaml_reader.Unreadable, match="limit"):
        yaml_reader.check_size(50_000_000)


def test_every_value_has_a_line() -> None:
    text = b"x: 1\nspec:\n  a:\n   - b: 1\n   - c: 2\n"

    assert yaml_reader.line_of(text, 0, ["spec", "a", 1, "c"]) == 5
    assert yaml_reader.line_of(text, 0, ["spec", "a", 0, "missing"]) == 4
    assert yaml_reader.line_of(text, 0, ["nothing"]) == 1


def test_documents_know_where_they_begin() -> None:
    assert [document.line for document in yaml_reader.load(b"---\na: 1\n---\nb: 2\n")] == [2, 4]
