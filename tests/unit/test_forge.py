"""Events, variables, annotations and the files of a job; and texts without secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops.domain.problems import Broken, Misused, Problem
from llmops.forge import job_outputs, jobs
from llmops.forge.github import redact
from llmops.forge.job_outputs import Annotation, Level
from llmops.forge.jobs import Cause, Trigger

EVENTS = Path(__file__).parent.parent / "events"
BASE, HEAD, MERGE = f"{1:040}", f"{2:040}", f"{9:040}"


def event(name: str, payload: str = "", ref: str = "refs/heads/main") -> Trigger:
    return jobs.read_event(name, (EVENTS / f"{payload or name}.json").read_bytes(), MERGE, ref)


def test_a_pull_request_is_about_its_head_and_not_about_what_was_checked_out() -> None:
    found = event("pull_request")
    assert (found.base, found.head, found.number, found.is_fork) == (BASE, HEAD, 7, False)
    assert found.is_proposal


def test_a_pull_request_from_another_repository_is_a_forks() -> None:
    assert event("pull_request", "pull_request_of_a_fork").is_fork


def test_a_pull_request_whose_repository_is_gone_is_a_forks() -> None:
    payload = json.loads((EVENTS / "pull_request.json").read_text())
    payload["pull_request"]["head"]["repo"] = None
    assert jobs.read_event("pull_request", json.dumps(payload).encode(), MERGE, "").is_fork


def test_a_merge_group_is_about_its_own_commit() -> None:
    found = event("merge_group")
    assert (found.base, found.head, found.number) == (BASE, HEAD, 0)


@pytest.mark.parametrize("name", ["push", "workflow_dispatch"])
def test_only_the_default_branch_is_the_default_branch(name: str) -> None:
    assert event(name) == Trigger(cause=Cause(name), head=MERGE, is_default=True)
    assert not event(name, ref="refs/heads/main2").is_default
    assert not event(name, ref="refs/tags/main").is_default


def test_the_clock_runs_on_the_default_branch() -> None:
    assert event("schedule", ref="").is_default


def test_an_event_that_nothing_is_decided_for_is_named_with_those_that_are() -> None:
    with pytest.raises(Misused, match="pull_request, merge_group, push, workflow_dispatch, schedule"):
        jobs.read_event("issues", b"{}", MERGE, "")


def test_a_payload_that_is_not_githubs_is_trouble_and_no_verdict() -> None:
    with pytest.raises(Broken, match="the payload of the event pull_request is not as GitHub documents it"):
        jobs.read_event("pull_request", b"{}", MERGE, "")


def test_a_job_without_a_token_has_no_access() -> None:
    variables = {"GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": "push.json", "GITHUB_REPOSITORY": "example/models"}
    job = jobs.read(variables, lambda path: (EVENTS / path).read_bytes())
    assert (job.access, job.page) == (None, "")
    job = jobs.read(variables | {"GITHUB_TOKEN": "t", "GITHUB_RUN_ID": "4"}, lambda path: (EVENTS / path).read_bytes())
    assert job.access is not None
    assert job.access.url == "https://api.github.com"
    assert job.page == "https://github.com/example/models/actions/runs/4"


def test_an_annotation_cannot_be_left_by_what_it_says() -> None:
    said = str(Annotation(level=Level.ERROR, title="a,b: c", text="100 %\n::error::no", file="x,y.yaml", line=3))
    assert said == "::error file=x%2Cy.yaml,line=3,title=a%2Cb%3A c::100 %25%0A::error::no"


def test_a_problem_is_annotated_with_its_place_and_its_remedy() -> None:
    (found,) = job_outputs.of_problems([Problem("specs/a.yaml", 7, "$.spec", "what", "Do this.")])
    assert str(found) == "::error file=specs/a.yaml,line=7,title=llmops check::$.spec: what Do this."


def test_no_more_is_annotated_than_github_shows_and_the_last_says_how_many() -> None:
    many = [Annotation(level=Level.ERROR, title="t", text=str(number)) for number in range(25)]
    found = job_outputs.shown([*many, Annotation(level=Level.NOTICE, title="t", text="kept")])
    assert len(found) == 11
    assert found[9].text == "16 more are in the summary of this job."


def test_a_summary_that_is_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    job_outputs.add_summary(path, "short\n")
    job_outputs.add_summary(path, "ä" * job_outputs.MOST)
    assert path.stat().st_size < job_outputs.MOST
    assert path.read_text().startswith("short\nä")
    assert path.read_text().endswith(job_outputs.CUT)
    job_outputs.add_summary(path, "x" * 1000)
    assert path.stat().st_size < job_outputs.MOST


def read_outputs(text: str) -> dict[str, str]:
    """Read an output file as a runner does."""
    found, rest = {}, text.split("\n")
    while rest and rest[0]:
        name, _, end = rest.pop(0).partition("<<")
        at = rest.index(end)
        found[name] = "\n".join(rest[:at])
        rest = rest[at + 1 :]
    return found


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_no_value_of_an_output_can_say_another(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("outputs") / "output"
    job_outputs.add_outputs(path, {"value": value, "code": "0"})
    assert read_outputs(path.read_text(encoding="utf-8")) == {"value": value, "code": "0"}


SECRET = "s3cret-of-mine"


@pytest.mark.parametrize(
    "text",
    [
        f"a {SECRET} b",
        f"https://x-access-token:{SECRET}@github.com/a/b",
        base64.b64encode(f"x-access-token:{SECRET}".encode()).decode(),
    ],
)
def test_a_secret_is_hidden_however_it_is_written(text: str) -> None:
    said = redact(text, [SECRET])
    assert SECRET not in said
    assert base64.b64encode(f"x-access-token:{SECRET}".encode()).decode() not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fatal: https://user:pass@host/x", "fatal: https://***@host/x"),
        ("AUTHORIZATION: basic dXNlcg==", "AUTHORIZATION: ***"),
        ("ghs_0123456789abcdefghij", "***"),
        ("specs/a.yaml:7: $.spec", "specs/a.yaml:7: $.spec"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown
