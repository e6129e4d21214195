"""A gate covers what will serve, and a change that weakens its checks waits for an approval."""

from __future__ import annotations

import json

import pytest

from llmops.domain.problems import Exit
from tests.answers import GOOD, answered
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec, system

SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gate: {unmeasured: %s}}\n"


@pytest.fixture
def shop(repo: Repo, llmops: Shell) -> Repo:
    """A repository whose deployment requires an evaluation, with all evidence of its first commit."""
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    answered(repo, "HEAD", {"exact_match": GOOD})
    repo.git("branch", "base")
    return repo


def propose(repo: Repo, *, scores: list[float] | None = GOOD) -> None:
    """Commit a change whose evaluations, if they are affected, find these scores."""
    repo.commit()
    if scores is not None:
        answered(repo, "HEAD", {"exact_match": scores})


def gate(llmops: Shell, *options: str) -> tuple[int, dict[str, object]]:
    code = llmops("gate", "--base", "base", "-o", "json", *options)
    return code, json.loads(llmops.out)


def deployment_file(repo: Repo) -> str:
    return next(
        str(path.relative_to(repo.folder))
        for path in (repo.folder / "specs").rglob("*.yaml")
        if "kind: Deployment" in path.read_text()
    )


def test_another_prompt_for_the_deployment_alone_is_a_problem(shop: Repo, llmops: Shell) -> None:
    shop.write({"prompts/evil.jinja": "You are evil. {{ question }}\n"})
    shop.write(
        {
            "specs/evil.yaml": spec(
                "Prompt", "evil", "template: prompts/evil.jinja\nvariables: {question: {type: string}}"
            )
        }
    )
    shop.edit(deployment_file(shop), "prompt: ask", "prompt: evil")
    propose(shop, scores=None)

    assert llmops("gate", "--base", "base") == Exit.NO
    assert "Evaluation/sums evaluates the model through Prompt/ask, and not through Prompt/evil" in llmops.err


def test_other_options_of_the_engine_are_not_measured_by_an_evaluation_of_the_model(shop: Repo, llmops: Shell) -> None:
    shop.edit(deployment_file(shop), "prompt: ask", "prompt: ask\n  engine: {config: {cb_num_blocks: 1}}")
    propose(shop)

    code, report = gate(llmops)

    assert (code, report["verdict"]) == (Exit.NO, "inconclusive")
    assert "is not measured" in str(report["summary"])


def test_an_evaluation_of_the_deployment_itself_covers_every_change(shop: Repo, llmops: Shell) -> None:
    shop.edit("specs/sums.yaml", "subject: {model: tuned, prompt: ask}", "subject: {deployment: chat}")
    propose(shop)
    shop.git("branch", "--force", "base")
    shop.edit(deployment_file(shop), "prompt: ask", "prompt: ask\n  engine: {config: {cb_num_blocks: 1}}")
    propose(shop)

    code, report = gate(llmops)

    assert (code, report["unmeasured"]) == (Exit.WELL, [])


def test_a_changed_model_that_its_evaluation_covers_passes(shop: Repo, llmops: Shell) -> None:
    shop.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    propose(shop)

    code, report = gate(llmops)

    assert (code, report["unmeasured"], report["weakened"]) == (Exit.WELL, [], [])


@pytest.mark.parametrize(
    ("unmeasured", "code", "verdict"),
    [("neutral", Exit.WELL, "pass"), ("approve", Exit.RUNNING, "inconclusive"), ("fail", Exit.NO, "fail")],
)
def test_the_base_decides_about_a_deployment_that_requires_nothing(
    shop: Repo, llmops: Shell, unmeasured: str, code: Exit, verdict: str
) -> None:
    file = deployment_file(shop)
    text = (shop.folder / file).read_text()
    shop.write({"llmops.yaml": SETTINGS % unmeasured, file: text.replace("requires: [sums]", "requires: []")})
    propose(shop)
    shop.git("branch", "--force", "base")
    shop.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    propose(shop)

    found, report = gate(llmops)

    assert (found, report["verdict"]) == (code, verdict)
    assert [gap["key"] for gap in report["unmeasured"]]  # type: ignore[attr-defined]
    assert gate(llmops, "--approved")[0] == (Exit.NO if unmeasured == "fail" else Exit.WELL)


SUITE, SOFTER = "- {task: evals/sums.yaml, dataset: rows}", "gate: {rule: no_regression, detect: 0.9}"


@pytest.mark.parametrize(
    ("path", "old", "new", "weakened"),
    [
        ("specs/sums.yaml", SUITE, SUITE.replace("sums", "easy"), "Evaluation/sums sums is removed"),
        ("deployment", "requires: [sums]", "requires: []", "does not require Evaluation/sums any more"),
        (
            "specs/sums.yaml",
            SUITE,
            SUITE.replace("}", f", {SOFTER}}}"),
            "not as strict as before",
        ),
        ("llmops.yaml", "spec: {}", "spec: {gate: {unmeasured: neutral, approve_above: 9h}}", "`gate` of llmops.yaml"),
    ],
)
def test_a_weaker_check_waits_for_an_approval(
    shop: Repo, llmops: Shell, path: str, old: str, new: str, weakened: str
) -> None:
    shop.write({"evals/easy.yaml": "task: easy\noutput_type: generate_until\ndoc_to_text: x\ndoc_to_target: y\n"})
    shop.edit(deployment_file(shop) if path == "deployment" else path, old, new)
    propose(shop)

    code, report = gate(llmops)

    assert (code, report["state"]) == (Exit.RUNNING, "pending"), report["summary"]
    assert any(weakened in text for text in report["weakened"]), report["weakened"]  # type: ignore[attr-defined]
    assert gate(llmops, "--approved")[0] == Exit.WELL


def test_a_removed_folder_of_specs_waits_for_an_approval(shop: Repo, llmops: Shell) -> None:
    shop.write({"llmops.yaml": "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {specs: [empty]}\n"})
    propose(shop, scores=None)

    code, report = gate(llmops)

    assert code == Exit.RUNNING
    assert "the folder specs holds no specs any more" in report["weakened"]  # type: ignore[operator]


def test_a_renamed_suite_needs_no_approval(shop: Repo, llmops: Shell) -> None:
    shop.edit("specs/sums.yaml", SUITE, SUITE.replace("}", ", name: additions}"))
    propose(shop)

    code, report = gate(llmops)

    assert (code, report["weakened"]) == (Exit.WELL, [])


def test_a_stricter_gate_needs_no_approval(shop: Repo, llmops: Shell) -> None:
    shop.edit("specs/sums.yaml", SUITE, SUITE.replace("}", ", gate: {detect: 0.04}}"))
    propose(shop)

    assert gate(llmops)[1]["weakened"] == []


def test_junit_shows_what_waits_for_an_approval(shop: Repo, llmops: Shell) -> None:
    shop.edit(deployment_file(shop), "requires: [sums]", "requires: []")
    propose(shop)

    assert llmops("gate", "--base", "base", "-o", "junit") == Exit.RUNNING
    assert '<testsuite name="coverage" tests="1" failures="1">' in llmops.out
    assert llmops("gate", "--base", "base", "-o", "junit", "--approved") == Exit.WELL
    assert '<testsuite name="coverage" tests="1" failures="0">' in llmops.out


def test_a_renamed_deployment_keeps_the_requirements_of_the_old_one(shop: Repo, llmops: Shell) -> None:
    shop.edit(deployment_file(shop), "name: chat", "name: talk")
    shop.edit(deployment_file(shop), "requires: [sums]", "requires: []")
    propose(shop)

    code, report = gate(llmops)

    assert code == Exit.RUNNING
    assert "Deployment/chat does not require Evaluation/sums any more" in report["weakened"]  # type: ignore[operator]
