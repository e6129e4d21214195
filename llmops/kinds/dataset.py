"""Declares a Dataset: rows in one of TRL's formats, checked row by row and split by content.

Formats are those of https://huggingface.co/docs/trl/dataset_formats; more columns than a format asks for are kept.

Pure.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from llmops import parsers
from llmops.domain import digests
from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files, Pin
from llmops.plugins.fields import Body, about
from llmops.plugins.kind import Choices, Kind, Step
from llmops.plugins.parser import BadRow, Parser, Row
from llmops.plugins.sources import Source, misplaced_token

Format: TypeAlias = Literal["text", "messages", "prompt_completion", "preference", "prompt", "rows"]

MOST_PROBLEMS = 10
"""Most listed bad rows of one file; the rest are counted."""


class Message(Struct):
    role: Annotated[str, Meta(min_length=1)]
    content: str


Turns: TypeAlias = Annotated[list[Message], Meta(min_length=1)] | str


class TextRow(Struct):
    text: str


class MessagesRow(Struct):
    messages: Annotated[list[Message], Meta(min_length=1)]


class PromptCompletionRow(Struct):
    """A prompt and its answer; the loss is on the answer."""

    prompt: Turns
    completion: Turns


class PreferenceRow(Struct):
    """Two answers, the better one first."""

    chosen: Turns
    rejected: Turns
    prompt: Turns | None = None


class PromptRow(Struct):
    prompt: Turns


ROWS: dict[str, Any] = {
    "text": TextRow,
    "messages": MessagesRow,
    "prompt_completion": PromptCompletionRow,
    "preference": PreferenceRow,
    "prompt": PromptRow,
    "rows": dict[str, Any],
}


class Split(Body, frozen=True, kw_only=True):
    """Split of the rows by a hash of each, so that no row changes sides when others are added or removed."""

    test_fraction: Annotated[float, about("Share of rows kept for evaluation.", gt=0, lt=1)]
    seed: Annotated[int, about("Seed of the split.", ge=0)] = 0
    by: Annotated[
        tuple[str, ...],
        about("Columns that determine the side; empty means the whole row. Edits of other columns do not move a row."),
    ] = ()


class Dataset(Body, frozen=True, kw_only=True):
    """Rows to train on or to evaluate with."""

    format: Annotated[Format, about("Columns of a row, as TRL names them; `rows` requires none.")]
    sources: Annotated[
        tuple[Source, ...],
        about(
            "Files (.jsonl; .txt and .md for format text; others with an installed parser), in this order.",
            min_length=1,
        ),
    ]
    split: Annotated[Split | None, about("Split into train and test rows; default: every row is in both.")] = None


def check(dataset: Dataset, _: Choices) -> Iterable[FieldProblem]:
    """Check that each source is one file with a parser."""
    for index, source in enumerate(dataset.sources):
        at = f"sources[{index}]"
        if (source.path is None) == (source.uri is None):
            yield FieldProblem(at, "a source is either a path or a uri.", "Set exactly one of them.")
        yield from misplaced_token(source, at)
        name = source.path or source.uri or ""
        if parsers.find(name, dataset.format) is None:
            yield FieldProblem(at, f"{name or 'this'} is not a file of rows.", f"Use {endings(dataset.format)}.")


def endings(format_: Format) -> str:
    *others, last = parsers.suffixes(format_)
    return f"{', '.join(others)} or {last}" if others else last


def examine(dataset: Dataset, files: Files) -> Iterable[Problem]:
    by = dataset.split.by if dataset.split else ()
    for source in dataset.sources:
        if source.path is not None:
            yield from _sample(source.path, list(wrong_rows(source.path, files[source.path], dataset.format, by)))


def _sample(path: str, wrong: list[BadRow]) -> Iterator[Problem]:
    for row in wrong[:MOST_PROBLEMS]:
        yield Problem(path, row.line, row.at, row.what, "Correct the row or the dataset's format.")
    if len(wrong) > MOST_PROBLEMS:
        more = len(wrong) - MOST_PROBLEMS
        yield Problem(path, wrong[MOST_PROBLEMS].line, "", f"{more} more rows are wrong.", "Correct them too.")


def wrong_rows(name: str, data: bytes, format_: Format, by: tuple[str, ...] = ()) -> Iterator[BadRow]:
    """Find the rows that do not fit the format, or lack a column of ``by``."""
    parser, is_empty = _parser(name, format_), True
    for row in parser.rows(data, ROWS[format_]):
        is_empty = False
        if isinstance(row, BadRow):
            yield row
    for row in parser.rows(data, dict[str, Any]) if by else ():
        if isinstance(row, Row) and (missing := [column for column in by if column not in row.value]):
            what = f"the row has no column {' and '.join(missing)}, by which the dataset is split."
            yield BadRow(row.line, "$", what)
    if is_empty:
        yield BadRow(1, "", "the file has no rows.")


def rows(name: str, data: bytes, format_: Format) -> Iterator[dict[str, Any]]:
    """Read the valid rows of a file; `wrong_rows` finds the others."""
    return (row.value for row in _parser(name, format_).rows(data, dict[str, Any]) if isinstance(row, Row))


def _parser(name: str, format_: Format) -> Parser:
    parser = parsers.find(name, format_)
    assert parser is not None  # noqa: S101  `check` comes first
    return parser


def is_test(row: dict[str, Any], split: Split) -> bool:
    """Whether a row is in the test split: its hash, as a number in [0, 1), is below the fraction."""
    part = {name: row.get(name) for name in split.by} if split.by else row
    text = msgspec.json.encode([split.seed, part], order="sorted")
    return int(digests.sha256(text)[:16], 16) / 2**64 < split.test_fraction


def pins(dataset: Dataset) -> Iterable[Pin]:
    """Pin the addresses at their digests, and the parsers that have a version."""
    for index, source in enumerate(dataset.sources):
        if source.uri is not None:
            yield Pin(f"sources[{index}].digest", source.uri, source.digest or "")
        parser = parsers.find(source.path or source.uri or "", dataset.format)
        if parser and parser.version:
            yield Pin(f"sources[{index}].parser", f"llmops://parser/{parser.suffixes[0]}", parser.version)


KIND = Kind(
    body=Dataset,
    provides=("rows",),
    step=Step(name="prepare", version=1, run="llmops.steps.dataset"),
    check=check,
    examine=examine,
    pins=pins,
)
