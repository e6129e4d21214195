"""Contract with lm-eval: every type of output becomes items with scores, each what the task says of that item alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from llmops.domain.plans import Verdict
from llmops.gates.judge import GateCase, judge_together
from llmops.kinds.evaluation.spec import Gate
from llmops.steps.context import StepFailed
from llmops.store import blobs
from llmops.store.blobs import Store
from tests import tiny
from tests.tiny import Asked, Found

pytestmark = pytest.mark.slow


def task(output: str, *metrics: str, **fields: Any) -> dict[str, Any]:
    return {"task": "tiny", "output_type": output, "metric_list": [{"metric": one} for one in metrics], **fields}


QUESTION = {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}"}
CHOICE = task(
    "multiple_choice", "acc", "acc_norm", "brier_score",
    doc_to_text="{{question}}", doc_to_target="{{right}}", doc_to_choice=["a rather long one", "b", "c"],
)  # fmt: skip
TWO = task(
    "multiple_choice", "mcc", "f1", "acc",
    doc_to_text="{{question}}", doc_to_target="{{right % 2}}", doc_to_choice=["no", "yes"],
)  # fmt: skip
LIKELIHOOD = task("loglikelihood", "perplexity", "acc", **QUESTION)
ROLLING = task(
    "loglikelihood_rolling", "word_perplexity", "byte_perplexity", "bits_per_byte",
    doc_to_text="", doc_to_target="{{text}}",
)  # fmt: skip
WRITING = task(
    "generate_until", "exact_match", "bleu", "chrf", "ter",
    generation_kwargs={"until": ["\n"], "max_gen_toks": 8},
    filter_list=[
        {"name": "whole", "filter": [{"function": "take_first"}]},
        {"name": "letters", "filter": [{"function": "regex", "regex_pattern": "([a-z]+)"}, {"function": "take_first"}]},
    ],
    **QUESTION,
)  # fmt: skip
ROWS = [
    {"question": "one and one?", "answer": "two", "right": 0, "text": "A short text of a few words."},
    {"question": "what is the sea?", "answer": "much water, and salt", "right": 1, "text": "sea " * 12},
    {"question": "up or down", "answer": "up", "right": 2, "text": "Zz!"},
    {"question": "to be", "answer": "or not", "right": 1, "text": "To be or not to be: that is the question."},
]
MEANS = ("acc", "acc_norm", "brier_score", "exact_match,whole", "exact_match,letters")


def ask(kept: Store, model: Path, task: Mapping[str, Any], rows: Any = ROWS, **more: Any) -> Asked:
    return Asked(**tiny.of_model(kept, model), task=yaml.safe_dump(dict(task)), rows=rows, **more)


@pytest.fixture(scope="module")
def found(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """Every type of output, in one process."""
    folder = tmp_path_factory.mktemp("all")
    kept = blobs.open_at((folder / "store").as_uri())
    types = {"choice": CHOICE, "two": TWO, "likelihood": LIKELIHOOD, "rolling": ROLLING, "writing": WRITING}
    made = tiny.evaluated(folder, kept, *(ask(kept, model, one) for one in types.values()))
    return dict(zip(types, made, strict=True))


@pytest.fixture(scope="module")
def by_lm_eval(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ask lm-eval itself, about all rows or some."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    loaded = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=16)

    known: dict[str, dict[str, float]] = {}

    def asked(task: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, float]:
        what = json.dumps([task, rows])
        known[what] = known.get(what) or measured(task, rows)
        return known[what]

    def measured(task: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, float]:
        folder = tmp_path_factory.mktemp("rows")
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
        tasks = TaskManager(include_defaults=False).load([{**task, **files, "test_split": "test"}])
        said = lm_eval.evaluate(lm=loaded, task_dict=tasks, bootstrap_iters=0)
        return {name.removesuffix(",none"): value for name, value in said["results"]["tiny"].items()}

    return asked


def test_a_suite_is_asked_as_lm_eval_asks_it(tmp_path: Path, kept: Store, model: Path) -> None:
    """Seeds, solved examples and the chat template are those of `simple_evaluate`, which is too slow to be called."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    drawn = {"do_sample": True, "temperature": 1.5, "max_gen_toks": 6, "until": []}
    writing = task("generate_until", "exact_match", generation_kwargs=drawn, **QUESTION)
    fields = {"seed": 7, "apply_chat_template": True}
    asked = ask(kept, model, writing, suite={"num_fewshot": 2, "limit": 3}, fields=fields)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}}

    (ours,) = tiny.evaluated(tmp_path, kept, asked)
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=16),
        tasks=[{**writing, **files, "test_split": "test"}],
        task_manager=TaskManager(include_defaults=False),
        num_fewshot=2,
        limit=3,
        apply_chat_template=True,
        bootstrap_iters=0,
        batch_size=16,
        **dict.fromkeys(("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"), 7),
    )["samples"]["tiny"]

    assert [item.question for item in ours.items] == [one["arguments"][0][0] for one in theirs]
    assert [item.answer for item in ours.items] == [one["filtered_resps"][0] for one in theirs]
    assert ours.items[0].question.count("u:") == 3


SCORED = [
    *(("choice", CHOICE, name) for name in ("acc", "acc_norm", "brier_score")),
    *(("likelihood", LIKELIHOOD, name) for name in ("perplexity", "acc")),
    *(("rolling", ROLLING, name) for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")),
    *(
        ("writing", WRITING, f"{name},{filter_}")
        for name in ("exact_match", "bleu", "chrf", "ter")
        for filter_ in ("whole", "letters")
    ),
]


@pytest.mark.parametrize(("kind", "definition", "metric"), SCORED, ids=[f"{one[0]}-{one[2]}" for one in SCORED])
def test_a_score_is_what_lm_eval_says_of_that_item_alone(
    found: dict[str, Found], by_lm_eval: Any, kind: str, definition: dict[str, Any], metric: str
) -> None:
    alone = [by_lm_eval(definition, [row])[metric] for row in ROWS]

    assert found[kind].scores(metric) == pytest.approx(alone, rel=1e-4)
    assert metric not in found[kind].facts.unscored


@pytest.mark.parametrize(("kind", "definition", "metric"), SCORED, ids=[f"{one[0]}-{one[2]}" for one in SCORED])
def test_the_published_figure_is_kept_where_it_is_not_the_mean_of_the_scores(
    found: dict[str, Found], by_lm_eval: Any, kind: str, definition: dict[str, Any], metric: str
) -> None:
    scores = [score for score in found[kind].scores(metric) if score is not None]
    published = by_lm_eval(definition, ROWS)[metric]

    assert found[kind].metrics[metric] == pytest.approx(fmean(scores))
    if metric in MEANS:
        assert fmean(scores) == pytest.approx(published, rel=1e-4)
        assert metric not in found[kind].facts.figures
    else:
        # Some can be the same by chance: then there is nothing to add.
        assert found[kind].facts.figures.get(metric, fmean(scores)) == pytest.approx(published, rel=1e-4)


def test_perplexities_and_errors_are_better_when_lower(found: dict[str, Found]) -> None:
    lower = {name for one in found.values() for name in one.facts.lower_is_better}

    assert lower == {
        *("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score"),
        *("ter,whole", "ter,letters"),
    }


def test_bits_per_byte_of_all_rows_is_weighted_by_their_length(found: dict[str, Found]) -> None:
    weights = [len(row["text"]) for row in ROWS]
    scores = found["rolling"].scores("bits_per_byte")
    whole = sum(w * (s or 0) for w, s in zip(weights, scores, strict=True)) / sum(weights)

    assert found["rolling"].facts.figures["bits_per_byte"] == pytest.approx(whole, rel=1e-5)


def test_what_compares_kinds_of_items_has_no_score_of_one_and_says_so(found: dict[str, Found]) -> None:
    two = found["two"]

    assert two.scores("mcc") == two.scores("f1") == [None] * len(ROWS)
    assert set(two.facts.unscored) == {"mcc", "f1"}
    assert "mcc is a metric of all items together" in two.facts.unscored["mcc"]
    assert set(two.metrics) == {"items", "calls", "acc"}
    assert two.facts.figures.keys() == {"mcc", "f1"}


OWN = """
def both(doc, results):
    return {"spread": float(len(doc["question"])), "share": float(len(doc["question"]))}
def spread(values):
    return max(values) - min(values)
def share(values):
    return sum(values) / len(values)
"""
OWN_TASK = """
task: tiny
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["e"], max_gen_toks: 12}
process_results: !function own.both
metric_list:
  - {metric: spread, aggregation: !function own.spread, higher_is_better: true}
  - {metric: share, aggregation: !function own.share, higher_is_better: true}
"""


def test_a_function_of_the_task_counts_for_items_only_if_it_is_their_mean(
    tmp_path: Path, kept: Store, model: Path
) -> None:
    rows = [*ROWS, *({**row, "question": f"{row['question']} {number}"} for number in range(8) for row in ROWS)]
    asked = Asked(**tiny.of_model(kept, model), task=OWN_TASK, rows=rows, files={"evals/own.py": OWN})

    (made,) = tiny.evaluated(tmp_path, kept, asked)

    assert all(math.isfinite(score or 0) for score in made.scores("share"))
    assert made.scores("spread") == [None] * len(rows)
    assert list(made.facts.unscored) == ["spread"]


@pytest.mark.parametrize(("suite", "shown"), [({}, 2), ({"num_fewshot": 0}, 0), ({"num_fewshot": 1}, 1)])
def test_the_examples_of_a_task_file_stand_before_the_question(
    tmp_path: Path, kept: Store, model: Path, suite: dict[str, Any], shown: int
) -> None:
    """The file's number counts unless the suite has one: lm-eval's rule."""
    samples = [{"question": f"What is 1{number}?", "answer": str(number)} for number in range(2)]
    examples = {"num_fewshot": 2, "fewshot_config": {"sampler": "first_n", "samples": samples}}
    writing = task("generate_until", "exact_match", generation_kwargs={"max_gen_toks": 4}, **QUESTION, **examples)

    (made,) = tiny.evaluated(tmp_path, kept, ask(kept, model, writing, suite=suite))

    assert {item.question.count("What is 1") for item in made.items} == {shown}


def test_a_worse_model_is_shown_to_be_worse_by_its_perplexity(tmp_path: Path, kept: Store, model: Path) -> None:
    """A metric of which lower is better, from the model to the verdict."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    worse = tmp_path / "worse"
    AutoTokenizer.from_pretrained(model).save_pretrained(worse)
    weights = LlamaForCausalLM.from_pretrained(model)
    with torch.no_grad():
        weights.lm_head.weight.mul_(30.0)  # as sure of itself as it is wrong
    weights.save_pretrained(worse)
    rows = [{**row, "text": f"{number} {row['text']}"} for number in range(4) for row in ROWS]

    base, head = tiny.evaluated(tmp_path, kept, ask(kept, model, ROLLING, rows), ask(kept, worse, ROLLING, rows))

    for metric in ("bits_per_byte", "byte_perplexity"):
        scores = [{item.id: item.scores[metric] for item in one.items} for one in (head, base)]
        case = GateCase(
            gate=Gate(), head=scores[0], base=scores[1], lower_is_better=metric in head.facts.lower_is_better
        )
        assert judge_together([case])[0].verdict is Verdict.FAIL


def test_a_task_reads_its_own_rows_as_the_commit_has_them(
    tmp_path: Path, kept: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that lie in the current folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text(json.dumps(ROWS[0]))
    monkeypatch.chdir(tmp_path)
    own = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "data/rows.jsonl"}}, "test_split": "test"}
    committed = "".join(json.dumps(row) + "\n" for row in ROWS)
    asked = ask(kept, model, {**CHOICE, **own}, [], files={"data/rows.jsonl": committed})

    (made,) = tiny.evaluated(tmp_path, kept, asked)

    assert [item.question for item in made.items] == [row["question"] for row in ROWS]


def test_a_loader_without_files_reads_nothing_of_the_folder_it_runs_in(
    tmp_path: Path, kept: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """datasets takes whatever lies in the working directory when a task names no files."""
    (tmp_path / "test.jsonl").write_text(json.dumps(ROWS[0]))
    monkeypatch.chdir(tmp_path)
    asked = ask(kept, model, {**CHOICE, "dataset_path": "json", "test_split": "test"}, [])

    with pytest.raises(StepFailed, match="Evaluation/tiny task: "):
        tiny.evaluated(tmp_path, kept, asked)


def test_two_commits_that_share_a_process_are_each_asked_by_their_own_task_file(
    tmp_path: Path, kept: Store, model: Path
) -> None:
    edited = {**CHOICE, "doc_to_text": "What is the answer to {{question}}"}

    base, head = tiny.evaluated(tmp_path, kept, ask(kept, model, CHOICE), ask(kept, model, edited))

    assert [item.question for item in base.items] == [row["question"] for row in ROWS]
    assert [item.question for item in head.items] == [f"What is the answer to {row['question']}" for row in ROWS]


def test_many_suites_of_two_models_load_each_model_once(
    tmp_path: Path, kept: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    loaded: list[str] = []
    load = AutoModelForCausalLM.from_pretrained

    def counted(path: str, *arguments: Any, **named: Any) -> Any:
        loaded.append(path)
        return load(path, *arguments, **named)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", counted)
    other = tiny.model(tmp_path / "one", seed=1)

    made = tiny.evaluated(
        tmp_path, kept, *(ask(kept, at, one) for one in (CHOICE, ROLLING, WRITING) for at in (model, other))
    )

    assert len(loaded) == len(set(loaded)) == 2
    assert len(made) == 6
    bits = [one.scores("bits_per_byte") for one in made[2:4]]
    assert bits[0] != bits[1]
