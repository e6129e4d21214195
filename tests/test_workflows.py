"""The workflows, ours and the one that `llmops init` writes: what they promise, and what they do under act.

act runs them without GitHub and without containers; the extra `test` brings it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops import __version__
from tests.conftest import ROOT, Shell
from tests.forge import stand_in
from tests.repos import Repo, own_system

EVENTS = Path(__file__).parent / "events"
OURS = ROOT / ".github/workflows/llmops.yml"
SCAFFOLD = ROOT / "llmops/scaffold/workflow.yml"
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), SCAFFOLD]
GATED = [OURS, SCAFFOLD]
ACTIONS = [ROOT / ".github/actions/llmops/action.yml", ROOT / "llmops/scaffold/action.yml"]
BASE, CHANGE = f"{1:040}", f"{2:040}"
"""What the sample events call the commits."""
BIN = Path(sys.executable).parent

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.relative_to(ROOT)))
every_gate = pytest.mark.parametrize("path", GATED, ids=["ours", "scaffold"])
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"
with_act = pytest.mark.skipif(
    shutil.which("act", path=PATH) is None, reason="there is no act for this machine: the workflows were not run"
)


def read(path: Path) -> dict[str, Any]:
    """Read a workflow; YAML 1.1 takes the key `on` for true."""
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Return the steps of a workflow or of an action."""
    found = read(path)
    for job in found["jobs"].values() if "jobs" in found else [found["runs"]]:
        yield from job["steps"]


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing() -> None:
    done = tool("zizmor", "--offline", "--no-progress", *map(str, [*WORKFLOWS, *ACTIONS]))
    assert done.returncode == 0, done.stdout


def test_every_workflow_is_one_by_githubs_schema() -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_one_by_githubs_schema() -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-actions", *map(str, ACTIONS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_action_of_somebody_else_is_pinned_by_commit(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step and not step["uses"].startswith("./")]
    assert [one for one in used if not re.search(r"@[0-9a-f]{40}$", one)] == []


@every_workflow
def test_nothing_is_permitted_but_by_a_job(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    assert all("permissions" in job and "timeout-minutes" in job for job in workflow["jobs"].values())


@every_workflow
def test_only_a_pull_request_is_cancelled_by_its_next_push(path: Path) -> None:
    cancel = read(path)["concurrency"]["cancel-in-progress"]
    assert cancel == "${{ github.event_name == 'pull_request' }}"


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_script_holds_an_expression(path: Path) -> None:
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


@every_workflow
def test_the_checkout_comes_first_and_brings_all_history(path: Path) -> None:
    for job in read(path)["jobs"].values():
        used = [index for index, step in enumerate(job["steps"]) if "checkout" in step.get("uses", "")]
        assert used in ([0], [])
        for index in used:
            assert job["steps"][index]["with"]["fetch-depth"] == 0
            assert "ref" not in job["steps"][index]["with"]


@every_gate
def test_every_job_may_do_only_what_it_does(path: Path) -> None:
    permitted = {name: job["permissions"] for name, job in read(path)["jobs"].items()}
    says = {"statuses": "write", "pull-requests": "write"}
    assert permitted == {
        "plan": {"contents": "read", **says},
        "gate": {"contents": "write", **says},
        "eval-gate": {},
        "settle": {"contents": "read", "statuses": "write"},
        "apply": {"contents": "write", "statuses": "write"},
    }


@every_gate
def test_a_fork_is_planned_by_a_job_that_runs_nothing_and_reaches_no_other(path: Path) -> None:
    jobs = read(path)["jobs"]
    ours = "github.event.pull_request.head.repo.full_name == github.repository"
    assert ours in jobs["gate"]["if"]
    assert ours in jobs["settle"]["if"]
    assert "pull_request" not in jobs["apply"]["if"].replace("!= 'pull_request'", "")
    assert "--dry-run" in jobs["plan"]["steps"][1]["with"]["arguments"]
    assert "extras" not in jobs["plan"]["steps"][1]["with"]


@every_gate
def test_expensive_work_waits_for_the_approval_of_an_environment(path: Path) -> None:
    wanted = "${{ needs.plan.outputs.expensive == 'true' && 'llmops-expensive' || '' }}"
    assert read(path)["jobs"]["gate"]["environment"] == wanted


@every_gate
def test_drift_is_looked_for_by_the_clock(path: Path) -> None:
    workflow = read(path)
    assert workflow["on"]["schedule"]
    assert "--apply" in workflow["jobs"]["apply"]["steps"][1]["with"]["arguments"]


def test_both_actions_say_the_same_to_later_jobs() -> None:
    ours, scaffold = map(read, ACTIONS)
    assert ours["outputs"] == scaffold["outputs"]


@pytest.mark.parametrize("path", ACTIONS, ids=["ours", "scaffold"])
def test_what_a_gate_makes_is_kept_whatever_it_finds_and_the_next_run_begins_with_the_latest(path: Path) -> None:
    """A key that was saved before is never saved again, so each run has its own and asks for the latest of all."""
    names = [step.get("id") or step.get("uses", "").partition("@")[0] for step in steps(path)]
    assert names[-3:] == ["actions/cache/restore", "run", "actions/cache/save"]
    restore, _, save = list(steps(path))[-3:]
    assert save["with"]["key"] == restore["with"]["key"]
    assert all(f"github.{one}" in save["with"]["key"] for one in ("run_id", "run_attempt", "job"))
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["with"]["path"] == restore["with"]["path"]
    assert "always()" in save["if"]
    assert "inputs.extras != ''" in save["if"]  # a job that makes nothing has nothing to keep


@every_gate
def test_the_required_check_waits_for_no_path_and_always_reports(path: Path) -> None:
    workflow = read(path)
    assert {"pull_request", "merge_group"} <= workflow["on"].keys()
    assert workflow["on"]["pull_request"] is None
    assert workflow["jobs"]["eval-gate"]["if"].startswith("always()")


def test_the_scaffold_installs_the_version_that_wrote_it() -> None:
    assert read(ACTIONS[1])["inputs"]["version"]["default"] == __version__


ANSWERS = {
    "success success false 0": "Every affected suite passes, or none is affected.",
    "success success true 0": "Every affected suite passes, or none is affected.",
    "success skipped false -": "No evaluation is affected.",
    "success skipped true -": "::error title=No evidence",
    "success failure true 1": "::error title=The gate failed",
    "success failure true 3": "::error title=No verdict",
    "success failure true 4": "::error title=No verdict::Another run was faster",
    "success failure true 5": "::error title=No verdict::Another run was faster",
    "success failure true 7": "::error title=Pending",
    "success failure true 130": "::error title=No verdict",
    "success failure true -": "::error title=No verdict",
    "success cancelled true -": "::error title=No verdict",
    "failure skipped - -": "::error title=No plan",
    "cancelled skipped - -": "::error title=No verdict",
    "skipped skipped - -": "::error title=No verdict",
}
"""How the jobs plan and gate ended, whether an evaluation is affected, and the gate's exit code -> what is said."""


@every_gate
@pytest.mark.parametrize("seen", ANSWERS)
def test_the_required_check_passes_only_on_a_pass(path: Path, seen: str) -> None:
    (step,) = read(path)["jobs"]["eval-gate"]["steps"]
    given = dict(zip(("PLAN", "GATE", "AFFECTED", "CODE"), seen.replace("-", "").split(" "), strict=True))
    assert given.keys() == step["env"].keys()
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(ANSWERS[seen])
    assert done.returncode == ("error" in ANSWERS[seen])


def test_the_sample_events_name_neither_people_nor_real_commits() -> None:
    for path in EVENTS.glob("*.json"):
        logins = set(re.findall(r'"login": "([^"]+)"', path.read_text()))
        assert logins <= {"example", "visitor", "github-merge-queue[bot]"}
        assert set(re.findall(r"[0-9a-f]{40}", path.read_text())) <= {BASE, CHANGE, f"{3:040}"}


class Act:
    """Runs a workflow of a repository and keeps how each job ended, and what was said."""

    def __init__(self, repo: Repo, folder: Path) -> None:
        self.repo, self._folder = repo, folder
        self.jobs: dict[str, str] = {}
        self.said = ""
        self.options: list[str] = []

    def __call__(self, event: str, payload: str, base: str, change: str) -> int:
        given = self._folder / "event.json"
        given.write_text((EVENTS / f"{payload}.json").read_text().replace(BASE, base).replace(CHANGE, change))
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [
                *("act", event, "--eventpath", str(given), "--workflows", ".github/workflows/llmops.yml", "--json"),
                *("--platform", "ubuntu-latest=-self-hosted", "--action-offline-mode", "--no-cache-server"),
                *("--env", "GITHUB_REPOSITORY=example/models", "--env", f"PYTHONPATH={ROOT}", *self._stand_ins()),
                *self.options,
            ],
            cwd=self.repo.folder,
            env={"PATH": PATH, "HOME": str(home), "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        self.jobs = {line["jobID"]: line["jobResult"] for line in lines if "jobResult" in line}
        self.said = "\n".join(str(line.get("content") or line.get("msg", "")) for line in lines)
        return done.returncode

    def _stand_ins(self) -> Iterator[str]:
        """Return actions that do nothing for those that act would clone, also when their step is skipped."""
        nothing = "name: nothing\ndescription: nothing\nruns: {using: composite, steps: []}\n"
        for below in ("", "restore", "save"):
            (self._folder / "nothing" / below).mkdir(parents=True, exist_ok=True)
            (self._folder / "nothing" / below / "action.yml").write_text(nothing)
        text = (self.repo.folder / ".github/actions/llmops/action.yml").read_text()
        for used in sorted(set(re.findall(r"uses: (actions/cache)(?:/\w+)?(@[0-9a-f]{40})", text))):
            yield from ("--local-repository", f"{''.join(used)}={self._folder / 'nothing'}")


ROWS = """\
apiVersion: llmops/v1alpha1
kind: Dataset
metadata: {name: rows}
spec: {format: text, sources: [{path: kb/rows.jsonl}]}
"""


@pytest.fixture
def act(repo: Repo, llmops: Shell, tmp_path: Path) -> Act:
    """A user's repository: what init wrote, a ledger, a dataset and nothing that is evaluated."""
    llmops("init")
    repo.commit({"specs/rows.yaml": ROWS, "kb/rows.jsonl": '{"text": "one"}\n'}, "a dataset")
    repo.git("push", "--quiet", "origin", "main")
    return Act(repo, tmp_path)


def one_more_row(repo: Repo) -> tuple[str, str]:
    """Commit a change; gives the commits before and after it."""
    before = repo.git("rev-parse", "HEAD")
    return before, repo.commit({"kb/rows.jsonl": '{"text": "one"}\n{"text": "two"}\n'}, "one more row")


@with_act
@pytest.mark.parametrize("event", ["pull_request", "merge_group"])
def test_a_change_that_touches_no_evaluation_passes(act: Act, event: str) -> None:
    assert act(event, event, *one_more_row(act.repo)) == 0, act.said
    assert act.jobs == {"plan": "success", "gate": "success", "eval-gate": "success"}
    assert "Pass: no evaluation is affected" in act.said
    assert "| ~ | Dataset/rows | prepare | kb/rows.jsonl changed |" in act.said


@with_act
def test_a_pull_request_is_told_by_statuses_and_a_comment(act: Act) -> None:
    with stand_in.listening() as github:
        act.options = ["--env", f"GITHUB_API_URL={github.url}", "--secret", f"GITHUB_TOKEN={stand_in.TOKEN}"]
        assert act("pull_request", "pull_request", *one_more_row(act.repo)) == 0, act.said
    assert github.latest() == {"llmops/check": "success"}
    assert [one["body"].splitlines()[1] for one in github.comments] == ["### ✅ Pass: no evaluation is affected"]
    assert stand_in.TOKEN not in act.said


@with_act
def test_a_push_to_main_is_applied_and_its_results_are_shared(act: Act) -> None:
    commits = one_more_row(act.repo)
    act.repo.git("push", "--quiet", "origin", "main")
    before = act.repo.git("ls-remote", "origin", "refs/llmops/results")
    assert act("push", "push", *commits) == 0, act.said
    assert act.jobs == {"apply": "success"}
    assert act.repo.git("ls-remote", "origin", "refs/llmops/results") != before


@with_act
def test_the_status_of_an_apply_that_was_killed_is_settled(act: Act) -> None:
    before = act.repo.git("rev-parse", "HEAD")
    after = act.repo.commit({"specs/rows.yaml": ROWS.replace("text", "texts")})
    with stand_in.listening() as github:
        act.options = ["--env", f"GITHUB_API_URL={github.url}", "--secret", f"GITHUB_TOKEN={stand_in.TOKEN}"]
        killed = {"sha": after, "context": "llmops/apply", "state": "pending", "description": "1 to prepare."}
        github.statuses.append(killed | {"target_url": "https://github.com/example/models/actions/runs/1"})
        assert act("push", "push", before, after) != 0, act.said
    assert act.jobs == {"apply": "failure", "settle": "success"}
    assert github.latest() == {"llmops/apply": "error", "llmops/check": "failure"}


@with_act
def test_invalid_specs_are_no_plan_and_no_pass(act: Act) -> None:
    before = act.repo.git("rev-parse", "HEAD")
    after = act.repo.commit({"specs/rows.yaml": ROWS.replace("text", "texts")})
    assert act("pull_request", "pull_request", before, after) != 0
    assert (act.jobs["plan"], act.jobs["eval-gate"]) == ("failure", "failure")
    assert "gate" not in act.jobs
    assert "No plan" in act.said


@pytest.fixture
def ours(repo: Repo, llmops: Shell, tmp_path: Path) -> Act:
    """Our own system with our own workflow."""
    repo.commit(
        {
            **own_system(),
            ".github/workflows/llmops.yml": OURS.read_bytes(),
            ".github/actions/llmops/action.yml": ACTIONS[0].read_bytes(),
        },
        "our own system",
    )
    repo.git("push", "--quiet", "origin", "main")
    assert llmops("init", "-e", "ci") == 0
    return Act(repo, tmp_path)


def harder(repo: Repo) -> tuple[str, str]:
    """Commit a change of a training that is evaluated."""
    before = repo.git("rev-parse", "HEAD")
    repo.edit("specs/training.yaml", "lora_alpha: 32", "lora_alpha: 24")
    return before, repo.commit(message="another alpha")


@with_act
def test_a_fork_that_touches_an_evaluation_brings_no_evidence(ours: Act) -> None:
    assert ours("pull_request", "pull_request_of_a_fork", *harder(ours.repo)) != 0
    assert (ours.jobs["plan"], ours.jobs["eval-gate"]) == ("success", "failure"), ours.said
    assert "gate" not in ours.jobs
    assert "No evidence" in ours.said


@with_act
def test_a_fork_that_touches_no_evaluation_passes(ours: Act) -> None:
    before = ours.repo.git("rev-parse", "HEAD")
    after = ours.repo.commit({"docs/page.md": "A page.\n"}, "a page")
    assert ours("pull_request", "pull_request_of_a_fork", before, after) == 0, ours.said
    assert (ours.jobs["plan"], ours.jobs["eval-gate"]) == ("success", "success")


@with_act
def test_our_own_workflow_passes_what_changes_no_spec(ours: Act) -> None:
    before = ours.repo.git("rev-parse", "HEAD")
    after = ours.repo.commit({"docs/page.md": "A page.\n"}, "a page")
    assert ours("pull_request", "pull_request", before, after) == 0, ours.said
    assert ours.jobs == {"plan": "success", "gate": "success", "eval-gate": "success"}
