"""The import command: files of other tools become specs that hold together, and nothing is overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests import tiny
from tests.completion import complete
from tests.conftest import ROOT, Shell
from tests.importing import MODELS, promptfoo
from tests.repos import Repo
from tests.trees import spec

CASES = sorted(path for path in (ROOT / "tests" / "imports").iterdir() if path.is_dir())


PROVIDERS = (
    "openai:gpt-4o=small", "openai/gpt-4o-mini=small", "openai/gpt-4o=large", "huggingface:text-generation:org/tiny=small",
)  # fmt: skip


def example(case: Path) -> dict[str, str | bytes]:
    """Return the files of an example, at the root of a repository with two models."""
    found = {path.relative_to(case).as_posix(): path.read_bytes() for path in case.rglob("*") if path.is_file()}
    return {**MODELS, **{path: data for path, data in found.items() if path != "said.txt"}}


def source(case: Path) -> str:
    return next(path.name for path in case.iterdir() if path.name.endswith((".prompt.yml", "config.yaml")))


def mapped(case: Path) -> list[str]:
    """Map the models that the file of an example names to ours."""
    text = (case / source(case)).read_text()
    return [word for one in PROVIDERS if one.partition("=")[0] in text for word in ("--provider", one)]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_an_example_becomes_what_was_agreed(case: Path, repo: Repo, llmops: Shell) -> None:
    repo.commit(example(case))

    assert llmops("import", source(case), "--dry-run", *mapped(case)) == Exit.NO

    said = f"{llmops.out}\n{llmops.err}"
    if os.environ.get("UPDATE_GOLDEN"):
        (case / "said.txt").write_text(said)
    assert said == (case / "said.txt").read_text()
    assert repo.git("status", "--porcelain") == ""


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_what_is_written_has_no_problem(case: Path, repo: Repo, llmops: Shell) -> None:
    repo.commit(example(case))

    assert llmops("import", source(case), *mapped(case)) == Exit.NO

    assert "wrote specs/" in llmops.out
    assert llmops("check", "--worktree") == Exit.WELL, llmops.err
    repo.commit()
    assert llmops("check") == Exit.WELL
    again = repo.git("rev-parse", "HEAD^{tree}")
    assert llmops("import", source(case), *mapped(case)) == Exit.NO
    repo.commit()
    assert repo.git("rev-parse", "HEAD^{tree}") == again


def test_everything_translated_is_exit_code_0(repo: Repo, llmops: Shell) -> None:
    repo.commit({**MODELS, "a.prompt.yml": "messages: [{role: user, content: 'Say {{word}}.'}]\n"})

    assert llmops("import", "a.prompt.yml", "--name", "Say it") == Exit.WELL
    assert llmops.out.startswith("wrote specs/say-it.yaml\n")


def test_a_model_or_a_judge_that_nothing_asks_for_is_said(repo: Repo, llmops: Shell) -> None:
    tests = "  - {vars: {q: a}, assert: [{type: llm-rubric, value: kind?, provider: strict}]}"
    repo.commit(
        {**MODELS, "promptfooconfig.yaml": promptfoo(tests), "a.prompt.yml": "messages: [{role: user, content: Hi}]\n"}
    )
    both = ("import", "promptfooconfig.yaml", "a.prompt.yml", "--dry-run", "--provider", "p=small")

    assert llmops(*both, "--provider", "strict=large", "--provider", "strikt=small", "--judge", "small") == Exit.WELL
    assert llmops.err == (
        'note: --provider strikt=small: the option was not used: no file names this model. Did you mean "strict"?\n'
        "note: --judge small: the option was not used: no rubric lacks a judge.\n"
    )
    assert llmops(*both, "--judge", "large") == Exit.WELL
    assert llmops.err == ""


def test_a_model_that_is_not_here_writes_nothing(repo: Repo, llmops: Shell) -> None:
    repo.commit({**MODELS, "promptfooconfig.yaml": promptfoo("  - {vars: {q: a}, assert: [{type: equals, value: x}]}")})

    assert llmops("import", "promptfooconfig.yaml", "--provider", "p=smal") == Exit.NO

    assert 'no Model or Training is called "smal". Did you mean "small"?' in llmops.err
    assert "nothing written: 1 problem" in llmops.err
    assert repo.git("status", "--porcelain") == ""


def test_nothing_is_overwritten(repo: Repo, llmops: Shell) -> None:
    repo.commit({**MODELS, "a.prompt.yml": "messages: [{role: user, content: Hi}]\n", "specs/a.yaml": "# mine\n"})

    assert llmops("import", "a.prompt.yml") == Exit.NO

    assert "specs/a.yaml: the file exists with other content" in llmops.err
    assert (repo.folder / "specs/a.yaml").read_text() == "# mine\n"
    assert llmops("import", "a.prompt.yml", "--name", "b") == Exit.WELL
    assert "wrote specs/b.yaml" in llmops.out
    assert llmops("import", "a.prompt.yml", "--name", "b") == Exit.WELL
    assert "wrote" not in llmops.out


def test_another_name_is_one_for_everything_that_is_made(repo: Repo, llmops: Shell) -> None:
    tests = "  - {vars: {q: a}, assert: [{type: equals, value: x}]}"
    text = promptfoo(tests).replace("['{{q}}']", "['{{q}}', {raw: 'Say {{q}}', label: say}]")
    repo.commit({**MODELS, "promptfooconfig.yaml": text})
    command = ("import", "promptfooconfig.yaml", "--provider", "p=small")

    assert llmops(*command) == Exit.WELL
    assert llmops(*command, "--name", "again") == Exit.WELL, llmops.err

    said = (repo.folder / "specs" / "again.yaml").read_text()
    assert "prompt: again-say}" in said
    assert "{name: again-say}" in said


def test_what_git_ignores_is_not_overwritten_either_nor_written_through(repo: Repo, llmops: Shell) -> None:
    tests = "  - {vars: {q: a}, assert: [{type: equals, value: x}]}"
    repo.commit({**MODELS, "promptfooconfig.yaml": promptfoo(tests), ".gitignore": "kb\n"})
    (repo.folder / "kb").mkdir()
    (repo.folder / "kb" / "promptfoo.jsonl").write_text("mine\n")

    assert llmops("import", "promptfooconfig.yaml", "--provider", "p=smal") == Exit.NO

    assert "kb/promptfoo.jsonl: the file exists" in llmops.err
    assert 'is called "smal"' in llmops.err
    assert (repo.folder / "kb" / "promptfoo.jsonl").read_text() == "mine\n"
    (repo.folder / "kb").rename(repo.folder / "elsewhere")
    (repo.folder / "kb").symlink_to("elsewhere")
    assert llmops("import", "promptfooconfig.yaml", "--provider", "p=small", "--name", "b") == Exit.NO
    assert "kb: the path exists and is not a folder" in llmops.err
    assert not (repo.folder / "specs" / "b.yaml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.yaml", "neither.yaml"], "nowhere.yaml, or git ignores it.\nthere is no file neither.yaml"),
        (["nowhere.yaml", "/etc/hostname"], "/etc/hostname is not in this repository"),
        (["a.prompt.yml", "--provider", "x"], "is not PROVIDER=MODEL"),
        (["a.prompt.yml", "b.prompt.yml", "--name", "x"], "--name applies to one file"),
    ],
)
def test_wrong_usage_is_said(words: list[str], says: str, repo: Repo, llmops: Shell) -> None:
    repo.commit({"a.prompt.yml": "messages: [{role: user, content: Hi}]\n"})

    assert llmops("import", *words) == Exit.USAGE
    assert says in llmops.err


def test_a_file_of_no_known_format_is_said(repo: Repo, llmops: Shell) -> None:
    repo.commit({"x.yaml": "a: 1\n", "y.yaml": "a: [\n"})

    assert llmops("import", "x.yaml", "y.yaml") == Exit.NO
    assert "Known are GitHub's .prompt.yml and promptfoo's configuration." in llmops.err
    assert "y.yaml:2: this is not YAML" in llmops.err


def test_models_are_completed(repo: Repo) -> None:
    repo.commit(MODELS)
    assert complete(repo.folder, "llmops import x --judge s") == ["small"]
    assert complete(repo.folder, "llmops import x --provider gpt=l") == ["gpt=large"]


@pytest.mark.slow
def test_what_is_imported_runs(repo: Repo, llmops: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    prompt = """\
model: org/tiny
modelParameters: {temperature: 0, maxTokens: 4}
messages: [{role: user, content: 'Say {{word}}.'}]
testData: [{word: one}, {word: two}, {word: three}]
evaluators: [{name: says, string: {contains: '{{word}}'}}, {name: begins, string: {startsWith: T}}]
"""
    repo.commit(
        {
            **tiny.files(tiny.model(tmp_path / "m1", 1), "m1"),
            "specs/m1.yaml": spec("Model", "m1", "source: {path: models/m1}"),
            "say.prompt.yml": prompt,
        }
    )
    assert llmops("init") == Exit.WELL
    assert llmops("import", "say.prompt.yml", "--provider", "org/tiny=m1") == Exit.WELL, llmops.err
    repo.commit()

    assert llmops("apply") == Exit.WELL, llmops.err
    assert "Evaluation/say say: done" in llmops.err
    assert "items 3" in llmops.err
