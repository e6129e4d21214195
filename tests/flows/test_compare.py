"""Several subjects in one table: who is asked, what is reused, and what the differences show."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from llmops.domain.problems import Exit
from llmops.domain.records import Outcome
from llmops.environments.workspaces import open_store
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import compare, comparison_plan
from llmops.gates.compare import PreparedComparison
from llmops.gates.comparison_plan import ComparisonRequest
from llmops.ledger import ledger
from tests.conftest import ROOT, Shell
from tests.flows.test_cli import complete
from tests.flows.test_evaluating import CHOICE
from tests.flows.test_gate import PROVENANCE, folder_of, pretend
from tests.flows.test_training import CHAT
from tests.repos import Repo
from tests.trees import Tree, spec, system
from tests.unit.test_pages import Page, is_alone

GOLDEN = ROOT / "tests" / "golden"
FACTS = SuiteFacts(metrics=("acc",))
HALF, MOST = [1.0, 0.0] * 50, [1.0, 1.0, 1.0, 0.0] * 25


def schoolbook() -> Tree:
    """Give the small system with rows that hold questions, another prompt, and an evaluation without a prompt."""
    rows = "".join(
        json.dumps({"messages": [{"role": "user", "content": f"{n}?"}], "question": f"{n}?"}) + "\n" for n in range(4)
    )
    tree = system().edited("specs/sums.yaml", "- {task", "- {name: sums, task")
    plain = "subject: {model: base}\nsuites: [{task: evals/sums.yaml, dataset: rows}, {name: few, task: evals/sums.yaml, dataset: rows, limit: 2}]"
    return Tree(
        {
            **tree,
            "data/rows.jsonl": rows,
            "prompts/beg.jinja": "Please: {{ question }}\n",
            "specs/beg.yaml": spec(
                "Prompt", "beg", "template: prompts/beg.jinja\nvariables: {question: {type: string}}"
            ),
            "specs/plain.yaml": spec("Evaluation", "plain", plain),
        }
    )


@pytest.fixture
def books(repo: Repo, llmops: Shell) -> Repo:
    repo.commit(dict(schoolbook()))
    assert llmops("init") == Exit.WELL
    repo.commit()
    return repo


def survey(repo: Repo, *subjects: str, suites: tuple[str, ...] = ("sums/few",), model: str = "") -> PreparedComparison:
    desired = repo.desire()
    words = ComparisonRequest(subjects=subjects, suites=suites, model=model)
    return compare.prepare(repo.workspace(), desired, comparison_plan.make(words, desired.graph))


def owed(found: PreparedComparison) -> list[tuple[str, str]]:
    return [(str(task.action.key), task.action.label) for task in found.tasks]


def answered(
    repo: Repo, scores: dict[str, list[float]], facts: SuiteFacts = FACTS, clusters: int = 0, calls: float = 100
) -> None:
    """Write down that these subjects were asked the suite `few` of Evaluation/sums, and what they scored."""
    found = survey(repo, *scores)
    made = {task.action.unit for task in found.tasks if task.action.key.kind != "Evaluation"}
    for side, values in zip(found.subjects, scores.values(), strict=True):
        (key,) = side.keys
        (unit,) = side.desired.graph[key].units
        items = [
            Item(id=str(n), question="q", target="t", answer="a", scores=dict.fromkeys(facts.metrics, value),
                 cluster=str(n % clusters) if clusters else "")
            for n, value in enumerate(values)
        ]  # fmt: skip
        texts = {
            evidence.ITEMS: "\n".join(msgspec.json.encode(item).decode() for item in items),
            evidence.FACTS: msgspec.json.encode(facts).decode(),
        }
        folder = folder_of(open_store(repo.workspace()), texts)
        outcomes = [
            Outcome(
                unit=one,
                key=key,
                part="few",
                step="x",
                outputs={"evidence": folder},
                metrics={"calls": calls},
                provenance=PROVENANCE,
            )
            for one in (unit.digest, *made)
        ]
        ledger.record(repo.ledger(), outcomes, "answered")


# What is asked of whom


def test_a_model_is_asked_through_the_prompt_of_the_evaluation_and_a_prompt_of_its_model(books: Repo) -> None:
    found = survey(books, "base", "beg", "base+beg", "base+")

    subjects = [side.desired.graph[side.keys[0]].spec.body.subject for side in found.subjects]
    assert [(one.model, one.prompt) for one in subjects] == [
        ("Training/base", "Prompt/ask"),
        ("Training/tuned", "Prompt/beg"),
        ("Training/base", "Prompt/beg"),
        ("Training/base", None),
    ]


def test_a_deployment_is_a_whole_subject_by_itself(books: Repo) -> None:
    found = survey(books, "chat", "tuned")

    subjects = [side.desired.graph[side.keys[0]].spec.body.subject for side in found.subjects]
    assert [(one.model, one.prompt, one.deployment) for one in subjects] == [
        (None, None, "Deployment/chat"),
        ("Training/tuned", "Prompt/ask", None),
    ]


def test_the_evidence_of_a_subject_is_that_of_an_evaluation_which_names_it(books: Repo) -> None:
    found = survey(books, "base+beg", "tuned")
    of_base, of_tuned = ([unit.digest for unit in side.desired.graph[side.keys[0]].units] for side in found.subjects)
    tuned = books.desire().graph[found.subjects[0].keys[0]]
    books.edit("specs/sums.yaml", "{model: tuned, prompt: ask}", "{model: base, prompt: beg}")
    books.edit("specs/chat.yaml", "requires: [sums]", "requires: []")
    books.commit()
    base = books.desire().graph[found.subjects[0].keys[0]]

    assert of_tuned == [tuned.units[1].digest]
    assert of_base == [base.units[1].digest]


def test_only_what_nobody_asked_before_is_owed_and_says_who_is_asked(books: Repo) -> None:
    pretend(books, "Dataset/corpus", "Dataset/rows", "Training/base", "Training/tuned", "Evaluation/sums")

    assert owed(survey(books, "tuned", "base", "beg")) == [
        ("Evaluation/sums", "few of base"),
        ("Evaluation/sums", "few of beg"),
    ]
    assert owed(survey(books, "tuned+ask", "Training/base+ask"))[0] == ("Evaluation/sums", "few of Training/base+ask")


def test_what_only_other_suites_need_is_not_made(books: Repo) -> None:
    more = "sources: [{path: data/rows.jsonl}]\nsplit: {test_fraction: 0.9}"
    books.commit({"specs/more.yaml": spec("Dataset", "more", f"format: rows\n{more}")})
    books.edit("specs/plain.yaml", "[{task: evals/sums.yaml, dataset: rows}", "[{task: evals/sums.yaml, dataset: more}")
    books.commit()

    keys = [key for key, _ in owed(survey(books, "base", "tuned", suites=("plain/few",)))]

    assert "Dataset/rows" in keys
    assert "Dataset/more" not in keys


def test_a_sequential_suite_is_asked_whole(books: Repo) -> None:
    plain = survey(books, "tuned", "base")
    books.edit("specs/sums.yaml", "limit: 1}", "limit: 1, sequential: true, gate: {max_items: 50}}")
    books.commit()

    found = survey(books, "tuned", "base")

    assert [task.action.unit for task in found.tasks] == [task.action.unit for task in plain.tasks]


def test_a_dry_run_says_what_would_be_asked_and_writes_nothing(books: Repo, llmops: Shell) -> None:
    before = books.git("for-each-ref")

    assert llmops("compare", "base", "tuned", "--suite", "sums/few", "--dry-run") == Exit.WELL

    assert "  to evaluate: Evaluation/sums few of base\n" in llmops.out
    assert "  to train: Training/tuned\n" in llmops.out
    assert llmops("compare", "base", "tuned", "-E", "sums", "--dry-run", "-o", "json") == Exit.WELL
    assert len(json.loads(llmops.out)["owed"]) == 8
    assert books.git("for-each-ref") == before


# What is wrong


def test_everything_that_is_wrong_with_the_words_is_said_at_once(books: Repo, llmops: Shell) -> None:
    books.commit({"specs/ask2.yaml": spec("Training", "ask", "task: sft\nbase: base\ndatasets: [{name: rows}]")})

    assert (
        llmops("compare", "bas", "ask", "Dataset/rows", "tuned+bgg", "--suite", "few", "--suite", "fewer") == Exit.USAGE
    )

    for line in (
        'no Model or Training or Prompt or Deployment is called "bas". Did you mean "base"?',
        '"ask" names several resources. Write Training/ask or Prompt/ask.',
        "Dataset/rows is not a Model or Training or Prompt or Deployment.",
        'no Prompt is called "bgg". Did you mean "beg"?',
        '"few" names several suites. Write plain/few or sums/few.',
        'no suite is called "fewer". Did you mean "few"?',
    ):
        assert line in llmops.err


def test_what_cannot_be_reported_is_said_before_anything_is_asked(books: Repo, llmops: Shell) -> None:
    asked = ("compare", "tuned", "base", "--suite", "sums/few")
    assert llmops(*asked, "--html", "no/such/folder/page.html") == Exit.USAGE
    assert llmops(*asked, "--dry-run", "-o", "md") == Exit.USAGE
    assert "a dry run has no result" in llmops.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("base", "--suite", "sums/few"), "needs at least two subjects"),
        (("base", "tuned"), "no suite was named"),
        (("tuned", "tuned+ask", "--suite", "sums/few"), "tuned and tuned+ask are the same subject"),
        (("base", "tuned", "-E", "sum"), 'no Evaluation is called "sum". Did you mean "sums"?'),
        (("ask", "beg", "--suite", "sums/few", "--model", "tune"), 'called "tune". Did you mean "tuned"?'),
    ],
)
def test_words_that_compare_nothing_are_wrong_usage(
    books: Repo, llmops: Shell, words: tuple[str, ...], says: str
) -> None:
    assert llmops("compare", *words) == Exit.USAGE
    assert says in llmops.err


def test_a_prompt_whose_variables_the_rows_lack_is_a_problem_before_anything_is_made(
    books: Repo, llmops: Shell
) -> None:
    books.commit(
        {
            "prompts/tell.jinja": "{{ topic }}, {{ tone | default('short') }}\n",
            "specs/tell.yaml": spec("Prompt", "tell", "template: prompts/tell.jinja\nvariables: {topic: {}, tone: {}}"),
        }
    )

    assert llmops("compare", "ask", "tell", "--suite", "sums/few") == Exit.NO

    assert "specs/sums.yaml:6: $.spec.suites: with tell as its subject: " in llmops.err
    assert 'the variable "topic" is missing. The columns are messages, question.' in llmops.err
    assert "tone" not in llmops.err


def test_of_a_commit_that_declares_nothing_to_compare_it_is_said_what_to_do(repo: Repo, llmops: Shell) -> None:
    repo.commit({"README.md": "nothing yet\n"})
    assert llmops("init") == Exit.WELL

    assert llmops("compare", "base", "tuned", "--suite", "few", "-E", "sums") == Exit.USAGE
    assert llmops.err.count("This commit has none: commit one, or name another commit with --head.") == 4
    assert llmops("compare", "base", "tuned") == Exit.USAGE
    assert "no suite was named. This commit has none: commit one, or name another commit with --head." in llmops.err


def test_without_a_ledger_nothing_is_asked(repo: Repo, llmops: Shell) -> None:
    repo.commit(dict(schoolbook()))

    assert llmops("compare", "base", "tuned", "--suite", "sums/few") == Exit.NO
    assert "Create it: `llmops init -e local`." in llmops.err


# What is shown


def golden(name: str, text: str) -> None:
    agreed = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        agreed.write_text(text)
    assert text == agreed.read_text()


def test_the_table_reads_as_agreed(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": [*MOST, 1.0], "beg": HALF})
    commit = books.git("rev-parse", "HEAD")[:12]

    for form in ("text", "md"):
        assert llmops("compare", "tuned", "base", "beg", "--suite", "sums/few", "-o", form) == Exit.WELL, llmops.err
        golden(f"comparison.{form}", llmops.out.replace(commit, "0123456789ab"))


def shown(shell: Shell) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(shell.out)["tables"][0]["rows"]
    return rows


def test_differences_are_paired_and_all_of_them_are_one_family(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": MOST, "beg": HALF})

    assert llmops("compare", "tuned", "base", "beg", "--suite", "sums/few", "-o", "json") == Exit.WELL

    first, base, beg = (row["contrast"] for row in shown(llmops))
    assert first is None
    assert isinstance(base, dict)
    assert isinstance(beg, dict)
    assert (base["delta"], base["worse"], base["better"]) == (0.25, 0, 25)
    assert base["p"] == pytest.approx(2 * 0.5**25)
    assert base["p_adjusted"] == pytest.approx(2 * base["p"])
    assert (base["shows"], beg["shows"], beg["p_adjusted"]) == ("better", "", 1.0)


def test_where_lower_is_better_less_is_shown_as_better_and_as_less(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": MOST, "base": HALF}, SuiteFacts(metrics=("loss",), lower_is_better=("loss",)))

    assert llmops("compare", "tuned", "base", "--suite", "sums/few", "-o", "json") == Exit.WELL

    row = shown(llmops)[1]
    contrast, score = row["contrast"], row["score"]
    assert isinstance(contrast, dict)
    assert isinstance(score, dict)
    assert (contrast["delta"], contrast["shows"], contrast["better"]) == (-0.25, "better", 25)
    assert contrast["low"] < -0.25 < contrast["high"] < 0
    assert score["low"] < 0.5 < score["high"]


def test_items_of_one_cluster_are_one(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": [0.0] * 100, "base": [1.0] * 100}, clusters=4)

    assert llmops("compare", "tuned", "base", "--suite", "sums/few") == Exit.WELL
    assert "100 items in 4 clusters" in llmops.out
    assert "+1.000 [-inf, +inf]  0/100         0.12         reused" in llmops.out


def test_a_subject_without_evidence_to_speak_of_is_said_and_the_answer_is_no(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": []})

    assert llmops("compare", "tuned", "base", "--suite", "sums/few") == Exit.NO
    assert "base: the suite has no items." in llmops.out


def test_a_run_that_asked_no_model_is_no_evidence(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": MOST}, calls=0)

    assert llmops("compare", "tuned", "base", "--suite", "sums/few") == Exit.NO
    assert "base: no model call is recorded, so there is no evidence." in llmops.out
    assert "+0.250" not in llmops.out


def test_the_page_holds_the_table_and_the_plot_and_needs_nothing_else(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": MOST})
    file = books.folder.parent / "page.html"

    assert llmops("compare", "tuned", "base", "--suite", "sums/few", "--html", str(file)) == Exit.WELL

    page = Page(file.read_text())
    assert is_alone(page)
    assert "base against tuned" in page.said
    assert "subject - tuned" in page.said
    assert "llmops compare tuned base --suite sums/few --head" in page.said


def test_subjects_suites_and_evaluations_are_completed(books: Repo) -> None:
    assert complete(books.folder, "llmops compare b") == ["base", "beg"]
    assert complete(books.folder, "llmops compare base+") == ["base+ask", "base+beg"]
    assert complete(books.folder, "llmops compare base tuned --suite sums/") == ["sums/few", "sums/sums"]
    assert complete(books.folder, "llmops compare base tuned --evaluation p") == ["plain"]
    assert complete(books.folder, "llmops compare ask beg --model t") == ["tuned"]


# With real models


def tiny(folder: Path, seed: int) -> dict[str, bytes]:
    """Give the files of a model of a few thousand weights, drawn at random."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = {chr(code): code - 32 for code in range(32, 127)} | {"</s>": 95, "Ġ": 96}
    tokenizer = Tokenizer(models.BPE(letters, [], unk_token="</s>"))  # noqa: S106  no password
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")  # noqa: S106
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    small = LlamaConfig(
        vocab_size=97, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=95, eos_token_id=95, pad_token_id=95,
    )  # fmt: skip
    LlamaForCausalLM(small).save_pretrained(folder)
    return {f"models/m{seed}/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_real_models_are_asked_once_and_never_again(
    repo: Repo, llmops: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    rows = "".join(json.dumps({"question": f"Line {n}?", "answer": "abc"[n % 3]}) + "\n" for n in range(30))
    prompt = "template: prompts/{}.jinja\nvariables: {{question: {{type: string}}}}"
    repo.commit(
        {
            **tiny(tmp_path / "m1", 1),
            **tiny(tmp_path / "m2", 2),
            "kb/rows.jsonl": rows,
            "evals/reading.yaml": CHOICE,
            "prompts/ask.jinja": "{{ question }}",
            "prompts/beg.jinja": "Please. {{ question }}",
            "specs/all.yaml": "---\n".join(
                [
                    spec("Model", "m1", "source: {path: models/m1}"),
                    spec("Model", "m2", "source: {path: models/m2}"),
                    spec("Dataset", "rows", "format: rows\nsources: [{path: kb/rows.jsonl}]"),
                    spec("Prompt", "ask", prompt.format("ask")),
                    spec("Prompt", "beg", prompt.format("beg")),
                    spec(
                        "Evaluation",
                        "reading",
                        "subject: {model: m1, prompt: ask}\nsuites: [{task: evals/reading.yaml, dataset: rows}]",
                    ),
                ]
            ),
        }
    )
    assert llmops("init") == Exit.WELL
    repo.commit()

    assert llmops("compare", "m1", "m2", "beg", "m2+beg", "--suite", "reading", "-o", "json") == Exit.WELL, llmops.err

    told = json.loads(llmops.out)
    assert [row["reused"] for row in told["tables"][0]["rows"]] == [False] * 4
    assert [row["score"]["items"] for row in told["tables"][0]["rows"]] == [30] * 4
    assert "Evaluation/reading reading of m2+beg: done" in llmops.err
    assert llmops("compare", "beg", "m1", "--suite", "reading", "-o", "json") == Exit.WELL
    assert json.loads(llmops.out)["made"] == 0
    assert llmops("apply") == Exit.WELL, llmops.err
    assert "to evaluate" not in llmops.out
    repo.edit("specs/all.yaml", "{model: m1, prompt: ask}", "{model: m2, prompt: beg}")
    repo.commit()
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert "All evidence exists already." in llmops.out
