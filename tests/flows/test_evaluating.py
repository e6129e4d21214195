"""What an evaluation writes down: real lm-eval over a tiny model that knows nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain.orders import Previous
from llmops.execution import evidence
from llmops.execution.evidence import Item
from llmops.kinds.evaluation.sampling import SamplingBudget
from llmops.statistics import betting
from llmops.store import blobs
from tests import tiny
from tests.tiny import CHOICE, TASK, Asked

pytestmark = pytest.mark.slow

WRITE = TASK.format(
    output="generate_until",
    metric="exact_match",
    more="generation_kwargs: {do_sample: true, temperature: 1.5, max_gen_toks: 6, until: []}",
)
ROWS = [
    {"question": f"Page {page}, line {line}?", "answer": "a", "page": page} for page in (1, 2) for line in (1, 2, 3)
]


def evaluated(
    folder: Path,
    model: Path,
    task: str,
    trial: int = 0,
    budget: SamplingBudget | None = None,
    previous: Previous | None = None,
    **suite: Any,
) -> tuple[list[Item], dict[str, float]]:
    """Run one trial of a suite, at once or within a budget; returns its items and its metrics."""
    kept = blobs.open_at((folder / "store").as_uri())
    subject = tiny.of_model(kept, model)
    asked = Asked(**subject, task=task, rows=ROWS, suite=suite, trial=trial, budget=budget, previous=previous)
    (found,) = tiny.evaluated(folder, kept, asked)
    return list(found.items), found.metrics


def test_items_carry_the_cluster_that_their_column_names(tmp_path: Path, model: Path) -> None:
    items, _ = evaluated(tmp_path, model, CHOICE, cluster="page")

    assert sorted(item.cluster for item in items) == ["1"] * 3 + ["2"] * 3


def test_a_column_that_the_rows_do_not_have_is_an_error(tmp_path: Path, model: Path) -> None:
    from llmops.steps.context import StepFailed

    with pytest.raises(StepFailed, match='a row has no column "chapter"') as error:
        evaluated(tmp_path, model, CHOICE, cluster="chapter")
    assert "answer, page, question" in str(error.value)


TWICE = """\
filter_list:
  - {name: first, filter: [{function: regex, regex_pattern: "(^.)"}, {function: take_first}]}
  - {name: any, filter: [{function: regex, regex_pattern: "([a-z])"}, {function: take_first}]}
generation_kwargs"""


def test_a_call_is_counted_once_however_many_filters_read_its_answer(tmp_path: Path, model: Path) -> None:
    items, figures = evaluated(tmp_path, model, WRITE.replace("generation_kwargs", TWICE))

    assert len(items[0].scores) == 2
    assert figures["calls"] == 6


def test_every_trial_asks_every_item_again_with_another_seed(tmp_path: Path, model: Path) -> None:
    by_trial = []
    for trial in range(3):
        items, figures = evaluated(tmp_path / str(trial), model, WRITE, trial, trials=3)
        assert {item.trial for item in items} == {trial}
        assert figures["calls"] == 6
        by_trial.append({item.id: item.answer for item in items})

    assert by_trial[0].keys() == by_trial[1].keys() == by_trial[2].keys()
    assert by_trial[0] != by_trial[1] != by_trial[2] != by_trial[0]


def test_the_first_trial_is_what_the_suite_finds_without_others(tmp_path: Path, model: Path) -> None:
    alone, _ = evaluated(tmp_path / "a", model, WRITE)
    first, _ = evaluated(tmp_path / "b", model, WRITE, trials=2)

    assert alone == first
    assert b"trial" not in msgspec.json.encode(alone[0])


def kept_evidence(folder: Path, items: list[Item]) -> Previous:
    """Put evidence of the first items into the store, from which a suite is to grow."""
    kept, written = blobs.open_at((folder / "store").as_uri()), folder / "earlier"
    written.mkdir(parents=True)
    facts = evidence.SuiteFacts(metrics=("acc",), of=len(ROWS))
    (written / evidence.ITEMS).write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in items))
    (written / evidence.FACTS).write_bytes(msgspec.json.encode(facts))
    outputs = {evidence.EVIDENCE: blobs.add_folder(kept, written)}
    return Previous(outputs=outputs, metrics={"items": float(len(items)), "calls": 3.0 * len(items)}, seconds=60.0)


def test_evidence_that_grows_holds_what_asking_at_once_finds(tmp_path: Path, model: Path) -> None:
    whole, _ = evaluated(tmp_path / "a", model, CHOICE)
    grown, figures = evaluated(tmp_path / "b", model, CHOICE, budget=SamplingBudget(), sequential=True)

    assert grown == whole
    assert (figures["items"], figures["of"], figures["calls"]) == (6, 6, 18)


def test_what_was_asked_is_not_asked_again(tmp_path: Path, model: Path) -> None:
    whole, _ = evaluated(tmp_path / "a", model, CHOICE)
    order = [int(number) for number in betting.random_order(map(str, range(6)), "1234")]
    asked = [replace(whole[number], answer="said before") for number in order[:4]]

    def continued(folder: Path, budget: SamplingBudget) -> tuple[list[Item], dict[str, float]]:
        previous = kept_evidence(folder, asked)
        return evaluated(folder, model, CHOICE, budget=budget, previous=previous, sequential=True)

    grown, figures = continued(tmp_path / "b", SamplingBudget())
    left, _ = continued(tmp_path / "c", SamplingBudget(seconds=60.0))

    assert grown == [*asked, *(whole[number] for number in sorted(order[4:]))]
    assert figures["calls"] == 18
    assert left == asked


def test_the_same_question_twice_is_two_items_in_whatever_batch_it_is_asked(tmp_path: Path, model: Path) -> None:
    whole, _ = evaluated(tmp_path / "a", model, CHOICE)
    first, *_, last = (whole[int(number)] for number in betting.random_order(map(str, range(6)), "1234"))
    asked = [replace(first, id=last.id)]

    previous = kept_evidence(tmp_path / "b", asked)
    grown, _ = evaluated(tmp_path / "b", model, CHOICE, budget=SamplingBudget(), previous=previous, sequential=True)

    assert [item.id for item in grown if item.question == last.question] == [f"{last.id}#2"]
    assert len({item.id for item in grown}) == len(grown)
