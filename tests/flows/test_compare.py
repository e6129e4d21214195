"""Several subjects in one table: who is asked, and what is reused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.gates.compare import PreparedComparison
from tests import tiny
from tests.answers import pretend
from tests.comparing import schoolbook, survey
from tests.completion import complete
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.tiny import CHOICE
from tests.trees import spec


def owed(found: PreparedComparison) -> list[tuple[str, str]]:
    return [(str(task.action.key), task.action.label) for task in found.tasks]


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
    assert len(llmops.json("compare", "base", "tuned", "-E", "sums", "--dry-run")["owed"]) == 8
    assert books.git("for-each-ref") == before


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


def test_subjects_suites_and_evaluations_are_completed(books: Repo) -> None:
    assert complete(books.folder, "llmops compare b") == ["base", "beg"]
    assert complete(books.folder, "llmops compare base+") == ["base+ask", "base+beg"]
    assert complete(books.folder, "llmops compare base tuned --suite sums/") == ["sums/few", "sums/sums"]
    assert complete(books.folder, "llmops compare base tuned --evaluation p") == ["plain"]
    assert complete(books.folder, "llmops compare ask beg --model t") == ["tuned"]


@pytest.mark.slow
def test_real_models_are_asked_once_and_never_again(
    repo: Repo, llmops: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    rows = "".join(json.dumps({"question": f"Line {n}?", "answer": "abc"[n % 3]}) + "\n" for n in range(30))
    prompt = "template: prompts/{}.jinja\nvariables: {{question: {{type: string}}}}"
    llmops.begin(
        {
            **tiny.files(tiny.model(tmp_path / "m1", 1), "m1"),
            **tiny.files(tiny.model(tmp_path / "m2", 2), "m2"),
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

    told = llmops.json("compare", "m1", "m2", "beg", "m2+beg", "--suite", "reading")
    assert [row["reused"] for row in told["tables"][0]["rows"]] == [False] * 4
    assert [row["score"]["items"] for row in told["tables"][0]["rows"]] == [30] * 4
    assert "Evaluation/reading reading of m2+beg: done" in llmops.err
    assert llmops.json("compare", "beg", "m1", "--suite", "reading")["made"] == 0
    assert llmops("apply") == Exit.WELL, llmops.err
    assert "to evaluate" not in llmops.out
    repo.edit("specs/all.yaml", "{model: m1, prompt: ask}", "{model: m2, prompt: beg}")
    repo.commit()
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert "All evidence exists already." in llmops.out
