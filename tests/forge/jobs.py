"""Jobs of GitHub Actions, five kinds of pull request, and what GitHub's emulator does with them."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops.domain.problems import Exit
from tests.answers import GOOD, answered
from tests.conftest import ROOT, Shell
from tests.forge.stand_in import TOKEN, GitHub
from tests.repos import Repo
from tests.trees import Tree, system

EVENTS = ROOT / "tests" / "events"


SLIGHTLY_WORSE = [1.0] * 85 + [0.0] * 15


def one_suite() -> Tree:
    """A system whose evaluation has one suite, and names its metric."""
    return system().edited(
        "specs/sums.yaml",
        "\n    - {task: evals/sums.yaml, dataset: rows}\n    - {name: few, task: evals/sums.yaml, dataset: rows, limit: 1}",
        "\n    - {task: evals/sums.yaml, dataset: rows, metric: acc}",
    )


class Forge:
    """A job of GitHub Actions: its event, its variables and its files."""

    def __init__(
        self, repo: Repo, llmops: Shell, github: GitHub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.repo, self.llmops, self.github, self.folder = repo, llmops, github, folder
        self._set = monkeypatch.setenv
        self.number = 7

    def __call__(self, event: str, *arguments: str, payload: str = "", **changes: Any) -> int:
        base, head = self.repo.git("rev-parse", "main"), self.repo.git("rev-parse", "HEAD")
        text = (EVENTS / f"{payload or event}.json").read_text().replace(f"{1:040}", base).replace(f"{2:040}", head)
        given = json.loads(text)
        if "pull_request" in given:
            given["number"] = given["pull_request"]["number"] = self.number
        (self.folder / "event.json").write_text(json.dumps(given))
        for name in ("summary", "output"):
            (self.folder / name).write_text("")
        variables = {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_SHA": head,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "example/models",
            "GITHUB_RUN_ID": "41",
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
        }
        self.variables = variables | changes
        for name, value in self.variables.items():
            self._set(name, value)
        return self.llmops("ci", *arguments)

    @property
    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "output").read_text().splitlines()
        return {line.partition("<<")[0]: lines[at + 1] for at, line in enumerate(lines) if "<<end-" in line}

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text()

    @property
    def comment(self) -> str:
        (found,) = self.github.comments
        return str(found["body"])


def other_seed(repo: Repo) -> None:
    repo.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")


def no_effect(repo: Repo) -> None:
    repo.commit({"docs/page.md": "A page.\n"}, "a page")


def better(repo: Repo) -> None:
    """The base answers a little less well than the head."""
    other_seed(repo)
    repo.commit(message="better")
    answered(repo, "HEAD", {"acc": GOOD})


def worse(repo: Repo) -> None:
    other_seed(repo)
    repo.commit(message="worse")
    answered(repo, "HEAD", {"acc": SLIGHTLY_WORSE})


def broken(repo: Repo) -> None:
    repo.edit("specs/tuned.yaml", "base: base", "base: bases")
    repo.commit(message="broken")


def weakened(repo: Repo) -> None:
    """Worse, and the gate is made to look away."""
    other_seed(repo)
    repo.edit("specs/sums.yaml", "metric: acc}", "metric: acc, gate: {rule: minimum, value: 0.1}}")
    repo.commit(message="weakened")
    answered(repo, "HEAD", {"acc": SLIGHTLY_WORSE})


Change = Callable[[Repo], None]


KINDS: dict[Change, tuple[Exit, dict[str, str], str]] = {
    no_effect: (Exit.WELL, {"check": "success"}, "### ✅ Pass: no evaluation is affected"),
    better: (Exit.WELL, {"check": "success", "sums": "success"}, "### ✅ Pass: 1 affected suite"),
    worse: (Exit.NO, {"check": "success", "sums": "failure"}, "### ❌ Fail: sums (1 of 1 affected suite)"),
    broken: (Exit.NO, {"check": "failure"}, "### ❌ Fail: 1 problem in the merge of "),
    weakened: (
        Exit.NO,
        {"check": "success", "sums": "failure", "coverage": "pending"},
        "### ❌ Fail: sums (1 of 1 affected suite)",
    ),
}


every_kind = pytest.mark.parametrize("change", KINDS, ids=lambda change: str(change.__name__))


def api(url: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Do something as the repository's owner."""
    request = urllib.request.Request(
        f"{url}/repos/example/models{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer token-of-an-owner", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def eval_gate(gate: str, affected: str, code: str) -> int:
    """Run the required job's own script, as the workflow has it."""
    workflow = yaml.safe_load((ROOT / "llmops/scaffold/workflow.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["eval-gate"]["steps"] if "CODE" in step.get("env", {})]
    given = {"PLAN": "success", "GATE": gate, "CODE": code, "AFFECTED": affected}
    return subprocess.run(["bash", "-e", "-c", step["run"]], env=os.environ | given, check=False).returncode


def protect(emulator: str) -> None:
    """Let the base take nothing before the check `eval-gate` has passed."""
    protection = {
        "required_status_checks": {"strict": False, "contexts": ["eval-gate"]},
        "enforce_admins": True,
        "required_pull_request_reviews": None,
        "restrictions": None,
    }
    assert api(emulator, "PUT", "/branches/main/protection", protection)[0] == 200


def propose(forge: Forge, branch: str) -> dict[str, Any]:
    """Open a pull request at the emulator, from a branch of this name."""
    emulator = forge.github.emulator
    sha = api(emulator, "GET", "/git/ref/heads/main")[1]["object"]["sha"]
    tree = api(emulator, "GET", f"/git/commits/{sha}")[1]["tree"]["sha"]
    change = api(emulator, "POST", "/git/commits", {"message": branch, "tree": tree, "parents": [sha]})[1]["sha"]
    api(emulator, "POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": change})
    found = api(emulator, "POST", "/pulls", {"title": branch, "head": branch, "base": "main"})[1]
    forge.number = found["number"]
    return dict(found)


def judge(forge: Forge, proposed: dict[str, Any]) -> int:
    """Run the job, let GitHub's part report how the required job ended, and give the code of ours."""
    code = forge("pull_request")
    passed = eval_gate("failure" if code else "success", forge.outputs.get("affected", ""), str(code)) == 0
    report = {
        "name": "eval-gate",
        "head_sha": proposed["head"]["sha"],
        "status": "completed",
        "conclusion": "success" if passed else "failure",
    }
    assert api(forge.github.emulator, "POST", "/check-runs", report)[0] == 201
    return code


def merge(forge: Forge) -> bool:
    return api(forge.github.emulator, "PUT", f"/pulls/{forge.number}/merge", {})[0] == 200


def headlines(forge: Forge) -> list[str]:
    _, found = api(forge.github.emulator, "GET", f"/issues/{forge.number}/comments")
    return [one["body"].splitlines()[1] for one in found]
