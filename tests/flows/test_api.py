"""The Python API does what the commands of the same names do."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import llmops as api
from llmops import cli
from llmops.api.environment import Environment
from llmops.api.environment import open as open_
from llmops.domain.events import EventType
from llmops.domain.problems import Exit, Invalid, Misused, Refused, Retry
from llmops.plugins.report import ReportContext
from llmops.reconcile import ApplyOptions
from llmops.reports.formats.plan import REPORTS
from tests.answers import answered
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec, system

ROWS = {
    "specs/rows.yaml": spec("Dataset", "rows", "format: text\nsources: [{path: kb/rows.txt}]"),
    "kb/rows.txt": "a\nb\n",
}
COMMANDS: dict[str, tuple[list[str], Callable[[Environment], Any]]] = {
    "plan": (["plan"], lambda environment: environment.plan()),
    "plan of two revisions": (
        ["plan", "--from", "HEAD~1", "--to", "HEAD"],
        lambda environment: environment.plan("HEAD", base="HEAD~1"),
    ),
    "plan of the working copy": (["plan", "--worktree"], lambda environment: environment.plan(worktree=True)),
    "status": (["status"], lambda environment: environment.status()),
    "history": (["history", "Training/tuned"], lambda environment: environment.history("Training/tuned")),
    "diff": (["diff", "HEAD~1"], lambda environment: environment.diff("HEAD~1")),
    "why": (["why", "tuned", "--since", "HEAD~1"], lambda environment: environment.why("tuned", since="HEAD~1")),
}
PRESENTATION = {"help", "output", "out", "detailed_exitcode"}
"""Options that choose how a result is shown, not what it is."""
OTHER_NAMES = {"head": "revision", "to": "revision", "key": "resource"}
"""Options that a method calls by another name."""


@pytest.fixture
def shop(repo: Repo, llmops: Shell) -> Repo:
    """A repository with results and a pending change."""
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    answered(repo, "HEAD", {"exact_match": [1.0, 0.0]})
    repo.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    repo.commit()
    return repo


@pytest.mark.parametrize("name", COMMANDS)
def test_a_method_returns_what_the_command_prints(shop: Repo, llmops: Shell, name: str) -> None:
    command, call = COMMANDS[name]

    llmops(*command, "-o", "json")
    value = call(api.open(shop.folder))

    text = REPORTS["json"](value, ReportContext()) if command[0] == "plan" else msgspec.json.encode(value)
    assert json.loads(text) == json.loads(llmops.out)


@pytest.mark.parametrize("name", sorted({command[0] for command, _ in COMMANDS.values()} | {"apply"}))
def test_every_option_of_a_command_is_a_parameter(name: str) -> None:
    subcommands = next(action for action in cli.build_parser([name])._actions if action.choices)
    dests = {action.dest for action in dict(subcommands.choices or {})[name]._actions}
    method = getattr(Environment, name)
    parameters = {*inspect.signature(method).parameters, *inspect.signature(open_).parameters}
    options = {f"allow_{field}" for field in ApplyOptions.__struct_fields__} if name == "apply" else set()
    common = {action.dest for action in cli.build_parser([name])._actions}

    assert {OTHER_NAMES.get(dest, dest) for dest in dests - common - PRESENTATION} <= parameters | options


def test_apply_passes_events_and_is_safe_to_repeat(repo: Repo, llmops: Shell) -> None:
    repo.commit(ROWS)
    assert llmops("init") == Exit.WELL
    environment, events = api.open(repo.folder), []

    result = environment.apply(emit=events.append)

    assert result.is_well
    assert [event.type for event in events if event.type is not EventType.PROGRESS] == ["started", "made"]
    assert environment.apply().is_well
    assert environment.plan().plan.actions == ()
    assert [row["name"] for row in environment.outcomes("rows").records()] == ["rows"]


def test_apply_carries_out_exactly_one_plan_once(repo: Repo, llmops: Shell) -> None:
    repo.commit(ROWS)
    assert llmops("init") == Exit.WELL
    environment = api.open(repo.folder)
    plan = environment.plan().plan

    assert environment.apply(plan).is_well

    with pytest.raises(Retry, match="plan is stale"):
        environment.apply(plan)


def test_tables_have_a_row_for_each_result_and_each_item(shop: Repo) -> None:
    environment = api.open(shop.folder)

    outcomes, evidence = environment.outcomes(), environment.evidence("sums", revision="HEAD~1")

    assert {row["kind"] for row in outcomes.records()} >= {"Dataset", "Training", "Evaluation"}
    assert len(environment.outcomes("Evaluation/sums")) == len({row["suite"] for row in evidence.records()})
    assert [row["scores.exact_match"] for row in evidence.records()][:2] == [1.0, 0.0]
    assert evidence.to_pandas()["scores.exact_match"].mean() == 0.5
    assert len(environment.evidence("sums")) == 0  # the edited model was not evaluated


def test_without_pandas_a_table_names_the_remedy(shop: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(Misused, match="pip install pandas"):
        api.open(shop.folder).outcomes().to_pandas()


def test_errors_are_those_of_the_commands(repo: Repo, llmops: Shell) -> None:
    repo.commit(ROWS)
    environment = api.open(repo.folder)

    with pytest.raises(Refused, match="has no ledger"):
        environment.apply()
    assert llmops("init") == Exit.WELL
    with pytest.raises(Misused, match="working copy cannot be applied"):
        environment.apply(environment.plan(worktree=True).plan)
    with pytest.raises(Misused, match="declares no resource"):
        environment.history("row")
    with pytest.raises(Refused, match="is not trusted"):
        api.open(repo.folder, trust="head").apply()
    repo.commit({"specs/rows.yaml": "kind: Nothing\n"})
    with pytest.raises(Invalid, match="Nothing"):
        environment.plan()


def test_the_package_loads_the_api_when_it_is_used() -> None:
    assert api.open is open_
    with pytest.raises(AttributeError, match="no attribute opened"):
        _ = api.opened
