"""Assertions through the real lm-eval, about models that learnt by heart what to say, and one that knows nothing."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

from llmops.domain.orders import Input, Job
from llmops.domain.resources import Key
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.kinds.evaluation.rubrics import Agreement, RubricCase
from llmops.steps.evaluation import llm_judge
from llmops.steps.redaction import Redaction
from llmops.store import blobs
from tests import parrots
from tests.tiny import all_made

pytestmark = pytest.mark.slow

TOWNS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}
ROWS = [{"land": land, "town": town, "n": n} for n in range(3) for land, town in TOWNS.items()]
RUBRIC = "Is it {{ town }}?"
SAID = {"Paris": (True, 1.0), "Rome": (True, 0.4), "Oslo": (False, 0.0)}
"""What the judge says of an answer."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows two of three towns."""
    says = {f"{land}?": "Oslo" if town == "Madrid" else town for land, town in TOWNS.items()}
    return parrots.parrot(tmp_path_factory.mktemp("subject"), says)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = {f"{land}?": (town, "Oslo" if town == "Madrid" else town) for land, town in TOWNS.items()}
    says = {}
    for question, (town, answer) in asked.items():
        holds, score = SAID[answer]
        said = json.dumps({"pass": holds, "score": score, "reason": "so"})
        says[RubricCase(f"Is it {town}?", question, answer).messages[-1]["content"]] = said
    return parrots.parrot(tmp_path_factory.mktemp("judge"), says)


class Found(Struct, frozen=True):
    items: tuple[Item, ...]
    facts: SuiteFacts
    metrics: dict[str, float]
    evidence: str
    rulings: list[Any]

    def scores(self, metric: str) -> dict[str, list[float | None]]:
        """Return the scores of a metric by question."""
        found: dict[str, list[float | None]] = {}
        for item in self.items:
            found.setdefault(item.question, []).append(item.scores[metric])
        return found


def evaluated(folder: Path, models: Mapping[str, Path], *suites: Mapping[str, Any], **job: Any) -> list[Found]:
    """Evaluate suites in one order; ``models`` are the subject and the judge."""
    from llmops.steps.context import StepContext
    from llmops.steps.evaluation import evaluate

    kept = blobs.open_at((folder / "store").as_uri())
    rows = folder / "rows"
    shutil.rmtree(rows, ignore_errors=True)  # what the store took is read-only
    rows.mkdir(parents=True)
    (rows / "train.jsonl").write_text("")
    (rows / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in job.pop("rows", ROWS)))
    prompt = {
        "messages": [{"role": "user", "content": "{{ land }}?"}],
        "variables": {"land": {}},
        "parameters": {"max_tokens": 8},
    }
    labels = job.pop("labels", "")
    inputs = {
        "subject.model": given("Model", models["subject"], kept, "model"),
        "subject.prompt": Input(key=Key("Prompt", "ask"), body=Raw(json.dumps(prompt).encode())),
    }
    jobs = []
    for index, suite in enumerate(suites):
        inputs[f"suites[{index}].dataset"] = given("Dataset", rows, kept, "rows")
        if "judge" in suite:
            inputs[f"suites[{index}].judge.model"] = given("Model", models["judge"], kept, "model")
    whole = [{"name": f"s{index}", "dataset": "rows", **suite} for index, suite in enumerate(suites)]
    body = Raw(json.dumps({"subject": {"model": "m", "prompt": "ask"}, "suites": whole}).encode())
    files = {"kb/labels.jsonl": blobs.add_bytes(kept, labels.encode())}
    for index in range(len(suites)):
        unit, key = f"{index:064}", Key("Evaluation", "towns")
        jobs.append(Job(unit=unit, key=key, field="suites", index=index, body=body, files=files, inputs=inputs, **job))
    work = folder / f"work{len(list(folder.glob('work*')))}"
    work.mkdir()
    return [
        read(kept, made)
        for made in all_made(evaluate.run(tuple(jobs), StepContext(work, kept, cluster=False, redaction=Redaction())))
    ]


def given(kind: str, folder: Path, kept: blobs.Store, output: str) -> Input:
    return Input(key=Key(kind, "x"), body=Raw(b"{}"), outputs={output: blobs.add_folder(kept, folder)})


def read(kept: blobs.Store, made: Any) -> Found:
    digest = made.outputs["evidence"]
    files = {name: blobs.read(kept, file.sha256) for name, file in blobs.manifest(kept, digest).files.items()}
    return Found(
        items=evidence.decode(files[evidence.ITEMS]),
        facts=msgspec.json.decode(files[evidence.FACTS], type=SuiteFacts),
        metrics=made.metrics,
        evidence=digest,
        rulings=llm_judge.decode(files.get(evidence.RULINGS, b"")),
    )


def test_each_answer_is_held_to_the_assertions(subject: Path, tmp_path: Path) -> None:
    asserts = [
        {"type": "equals", "value": "{{ town }}", "metric": "right", "weight": 2},
        {"type": "not-contains", "value": "sorry", "metric": "frank"},
        {"type": "levenshtein", "value": "{{ town }}", "threshold": 9, "weight": 0, "metric": "near"},
    ]

    plain, lenient = evaluated(
        tmp_path, {"subject": subject}, {"assert": asserts}, {"assert": asserts, "threshold": 0.3}
    )

    assert plain.facts.metrics == ("pass", "score", "right", "frank", "near")
    assert plain.scores("pass") == {"France?": [1.0] * 3, "Italy?": [1.0] * 3, "Spain?": [0.0] * 3}
    assert plain.scores("score")["Spain?"] == [pytest.approx(1 / 3)] * 3
    assert plain.metrics == pytest.approx(
        {"items": 9, "calls": 9, "pass": 2 / 3, "score": 7 / 9, "right": 2 / 3, "frank": 1, "near": 1}
    )
    assert set(lenient.scores("pass")["Spain?"]) == {1.0}
    assert plain.items[2].answer == "Oslo"
    assert plain.items[2].target.splitlines()[:2] == ["equals Madrid", "not-contains sorry"]
    assert len({item.id for item in plain.items}) == 9


def test_a_limit_and_a_cluster_go_the_way_of_every_suite(subject: Path, tmp_path: Path) -> None:
    suite = {"assert": [{"type": "equals", "value": "{{ town }}"}], "limit": 4, "cluster": "land"}

    (found,) = evaluated(tmp_path, {"subject": subject}, suite)

    assert [item.cluster for item in found.items] == ["France", "Italy", "Spain", "France"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [ROWS[0], {"town": "Oslo"}],
            r'cannot be filled in from 1 of the 2 rows:\n  row 2: the variable "land" is missing\. The row has .*town',
        ),
        ([ROWS[0] | {"page": 1}, ROWS[1]], 'a row has no column "page" .cluster.; it has land, n, town'),
    ],
)
def test_a_column_that_only_some_rows_have_is_nowhere_none(
    subject: Path, tmp_path: Path, rows: list[dict[str, Any]], why: str
) -> None:
    from llmops.steps.context import StepFailed

    suite = {"assert": [{"type": "not-contains", "value": "sorry"}], "cluster": "page" if "page" in rows[0] else None}

    with pytest.raises(StepFailed, match=why):
        evaluated(tmp_path, {"subject": subject}, suite, rows=rows)


def test_what_is_measured_is_measured_of_each_answer(subject: Path, tmp_path: Path) -> None:
    asserts = [
        {"type": "latency", "metric": "ms"},
        {"type": "cost", "hourly_cost": 3600, "metric": "spent"},
        {"type": "perplexity", "metric": "surprise"},
        {"type": "latency", "threshold": 60_000, "metric": "quick"},
        {"type": "perplexity", "threshold": 1.5, "metric": "sure"},
    ]

    (found,) = evaluated(tmp_path, {"subject": subject}, {"assert": asserts})

    assert found.facts.lower_is_better == ("ms", "spent", "surprise")
    assert {score for scores in found.scores("quick").values() for score in scores} == {1.0}
    assert {score for scores in found.scores("sure").values() for score in scores} == {1.0}
    for item in found.items:
        assert item.scores["spent"] == pytest.approx((item.scores["ms"] or 0) / 1000), "a second costs 1"
        assert 0.1 < (item.scores["ms"] or 0) < 10_000
    assert found.items[0].scores["surprise"] == pytest.approx(perplexity(subject, "France?>", "Paris"), rel=1e-3)


def test_white_space_that_a_chat_template_ends_with_was_not_said_by_the_model(subject: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model = shutil.copytree(subject, tmp_path / "model", copy_function=shutil.copyfile)  # to be written to
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = tokenizer.chat_template.replace(">{%", "> {%")
    tokenizer.save_pretrained(model)

    (found,) = evaluated(tmp_path, {"subject": model}, {"assert": [{"type": "perplexity", "threshold": 1e9}, SURPRISE]})

    item = found.items[0]
    assert item.scores["surprise"] == pytest.approx(perplexity(model, f"{item.question}> ", item.answer), rel=1e-3)


SURPRISE = {"type": "perplexity", "metric": "surprise"}


def perplexity(folder: Path, asked: str, said: str) -> float:
    """Compute it from the model itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(asked + said, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        chances = torch.log_softmax(model(ids).logits[0], dim=-1)
    tail = range(len(asked), len(asked) + len(said))
    return math.exp(-sum(float(chances[place - 1, ids[0, place]]) for place in tail) / len(said))


POLITE = {"type": "llm-rubric", "value": RUBRIC, "metric": "judged"}
JUDGED = {"assert": [POLITE, {"type": "contains", "value": "o", "weight": 0}], "judge": {"model": "j"}}


def test_a_judge_is_asked_once_about_the_same_and_its_words_are_kept(
    subject: Path, judge: Path, tmp_path: Path
) -> None:
    models = {"subject": subject, "judge": judge}
    strict = {"assert": [{**POLITE, "threshold": 0.5}], "judge": {"model": "j"}}

    first, second = evaluated(tmp_path, models, JUDGED, strict)

    assert first.scores("pass") == {"France?": [1.0] * 3, "Italy?": [1.0] * 3, "Spain?": [0.0] * 3}
    assert first.scores("judged") == {"France?": [1.0] * 3, "Italy?": [0.4] * 3, "Spain?": [0.0] * 3}
    assert first.facts.judged == ("pass", "score", "judged")
    assert second.scores("pass")["Italy?"] == [0.0] * 3, "below the threshold"
    assert (first.metrics["judge_calls"], second.metrics["judge_calls"]) == (3, 0)
    assert first.rulings == second.rulings
    assert sorted(one.score for one in first.rulings) == [0.0, 0.4, 1.0]

    (later,) = evaluated(tmp_path, models, JUDGED, alike=({evidence.EVIDENCE: first.evidence},))
    assert later.metrics["judge_calls"] == 0, "what was said before holds in the next run"
    assert later.rulings == first.rulings
    (alone,) = evaluated(tmp_path, models, JUDGED)
    assert alone.metrics["judge_calls"] == 3


@pytest.mark.parametrize(("role", "roles"), [("subject", "user"), ("judge", "system, user")])
def test_a_model_without_a_chat_template_is_said_with_the_suite_that_needs_one(
    subject: Path, judge: Path, tmp_path: Path, role: str, roles: str
) -> None:
    from llmops.steps.context import StepFailed

    models = {"subject": subject, "judge": judge}
    models[role] = shutil.copytree(models[role], tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()

    with pytest.raises(
        StepFailed, match=f"^Evaluation/towns s0: the {role} has no chat template for .* {roles} .Cannot"
    ):
        evaluated(tmp_path, models, JUDGED)


def test_a_judge_whose_words_are_no_ruling_is_never_a_pass(subject: Path, tmp_path: Path) -> None:
    deaf = parrots.parrot(tmp_path / "deaf", {"?": "yes"})

    (found,) = evaluated(tmp_path, {"subject": subject, "judge": deaf}, JUDGED)

    for metric in ("pass", "score", "judged"):
        assert {score for scores in found.scores(metric).values() for score in scores} == {None}
        assert metric not in found.metrics
    assert {one.holds for one in found.rulings} == {None}


def label(land: str, town: str, said: str, *, holds: bool) -> str:
    return json.dumps({"question": f"{land}?", "output": said, "label": holds, "town": town}) + "\n"


@pytest.mark.parametrize(("fooled", "kappa"), [(False, 1.0), (True, -0.8)])
def test_a_judge_is_held_to_what_people_said(
    *,
    fooled: bool,
    kappa: float,
    subject: Path,
    judge: Path,
    tmp_path: Path,
) -> None:
    facts: Sequence[tuple[str, str, str, bool]] = (
        ("France", "Paris", "Paris", True),
        ("Italy", "Rome", "Rome", True),
        ("Spain", "Madrid", "Oslo", False),
    )
    labels = "".join(label(land, town, said, holds=holds is not fooled) for land, town, said, holds in facts)
    suite = {**JUDGED, "judge": {"model": "j", "labels": "kb/labels.jsonl"}}

    (found,) = evaluated(tmp_path, {"subject": subject, "judge": judge}, suite, labels=labels)

    assert found.facts.agreement == Agreement(kappa=pytest.approx(kappa), labels=3)
    assert found.metrics["judge_calls"] == 3, "the labelled answers are those of the suite"
