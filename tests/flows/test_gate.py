"""What a gate finds owed: what nobody made, and what this machine's store does not hold."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.problems import Exit
from llmops.domain.records import Outcome, Provenance, Release, Revision, Standing
from llmops.domain.resources import Key
from llmops.environments.workspaces import open_store
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import pull_request
from llmops.gates.pull_request import GatePlan
from llmops.ledger import ledger
from llmops.store import blobs
from llmops.store.blobs import Store
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import system

TICKS = itertools.count()
"""What is written down later was made later, so that it counts."""
PROVENANCE = Provenance(commit="c", actor="test", run="", started="2026-01-01T00:00:00Z", seconds=1.0, environment={})


@pytest.fixture
def change(repo: Repo, llmops: Shell) -> Repo:
    """A repository with a ledger, and a last commit that edits the data that a training learns from."""
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    repo.commit()
    repo.edit("specs/tuned.yaml", "task: sft", "seed: 7\ntask: sft".replace("\n", "\n  "))
    repo.commit()
    return repo


def survey(repo: Repo) -> GatePlan:
    return pull_request.prepare(repo.workspace(), repo.desire("HEAD~1"), repo.desire("HEAD"))


def owed(found: GatePlan) -> set[tuple[str, str]]:
    """Give what is owed, and of which side."""
    base = found.base.graph
    return {("base" if task.desired.graph is base else "head", str(task.action.key)) for task in found.tasks}


def pretend(repo: Repo, *keys: str) -> list[Digest]:
    """Write down for the base that these were made, with bytes in the store; gives the digests of the bytes."""
    graph, kept = repo.desire("HEAD~1").graph, open_store(repo.workspace())
    outcomes = []
    for key in map(Key.parse, keys):
        for unit in graph[key].units:
            bytes_ = folder_of(kept, {"x": f"{key} {unit.digest}"})
            outcomes.append(
                Outcome(
                    unit=unit.digest,
                    key=key,
                    part=unit.label,
                    step="x",
                    outputs={"x": bytes_},
                    metrics={},
                    provenance=PROVENANCE,
                )
            )
    ledger.record(repo.ledger(), outcomes, "pretended")
    return [next(iter(one.outputs.values())) for one in outcomes]


def folder_of(kept: Store, files: dict[str, str]) -> Digest:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        return blobs.add_folder(kept, Path(folder))


MADE = ("Dataset/corpus", "Dataset/rows", "Training/base", "Training/tuned", "Evaluation/sums")


def test_what_was_made_for_the_base_is_not_owed(change: Repo) -> None:
    pretend(change, *MADE)

    assert owed(survey(change)) == {("head", "Training/tuned"), ("head", "Evaluation/sums")}


def test_an_evaluation_that_gets_another_name_is_compared_with_what_it_was_called_before(change: Repo) -> None:
    change.edit("specs/sums.yaml", "name: sums", "name: other")
    change.edit("specs/chat.yaml", "sums", "other")
    change.git("reset", "--soft", "HEAD~1")
    change.commit()
    pretend(change, *MADE[:-1])

    assert owed(survey(change)) == {
        ("head", "Training/tuned"),
        ("head", "Evaluation/other"),
        ("base", "Evaluation/sums"),
    }


@pytest.mark.parametrize("part", ["manifest", "file"])
def test_evidence_that_this_store_does_not_hold_is_made_again_and_nothing_else(change: Repo, part: str) -> None:
    *_, last = pretend(change, *MADE)
    kept = open_store(change.workspace())
    forget(change, last if part == "manifest" else blobs.manifest(kept, last).files["x"].sha256)

    found = owed(survey(change))

    assert found == {("head", "Training/tuned"), ("head", "Evaluation/sums"), ("base", "Evaluation/sums")}


def test_on_a_machine_with_an_empty_store_everything_that_is_read_is_made_again(change: Repo) -> None:
    for digest in pretend(change, *MADE):
        forget(change, digest)

    found = owed(survey(change))

    assert {key for _, key in found} == set(MADE)


def forget(repo: Repo, digest: Digest) -> None:
    folder = repo.workspace().folder / "store"
    (path,) = (path for path in folder.rglob("*") if path.is_file() and digest in f"{path.parent.name}{path.name}")
    path.unlink()


def test_a_dry_run_says_with_its_exit_code_that_something_is_affected(change: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", "--detailed-exitcode") == Exit.CHANGES
    assert "Evaluation/sums" in llmops.out
    assert llmops("gate", "--base", "HEAD", "--dry-run", "--detailed-exitcode") == Exit.WELL


@pytest.mark.parametrize("words", [["-o", "junit"], ["-o", "md"], ["--html", "gate.html"]])
def test_a_dry_run_has_no_report_and_says_so(words: list[str], change: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", *words) == Exit.USAGE
    assert "a dry run has no result" in llmops.err


@pytest.mark.parametrize(
    ("page", "says"),
    [("nowhere/gate.html", "there is no folder"), (".", "is a folder"), ("", "the value is empty")],
)
def test_a_page_that_cannot_be_written_is_said_before_anything_is_run(
    page: str, says: str, change: Repo, llmops: Shell
) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--html", page) == Exit.USAGE
    assert "argument --html: " in llmops.err
    assert says in llmops.err


def test_another_environment_is_named_in_the_advice(change: Repo, llmops: Shell) -> None:
    assert llmops("apply", "-e", "ci") == Exit.NO
    assert "`llmops init -e ci`" in llmops.err
    assert llmops("gate", "-e", "ci", "--base", "HEAD~1") == Exit.NO
    assert "`llmops init -e ci`" in llmops.err


# Verdicts


def answered(
    repo: Repo, revision: str, scores: dict[str, list[float]], lower: tuple[str, ...] = (), question: str = "q"
) -> None:
    """Write down that everything of a revision was made, and that its evaluations found these scores."""
    numbers = range(len(next(iter(scores.values()))))
    items = [
        Item(id=str(n), question=question, target="t", answer="a", scores={name: scores[name][n] for name in scores})
        for n in numbers
    ]
    found(repo, revision, items, SuiteFacts(metrics=tuple(scores), lower_is_better=lower))


def found(
    repo: Repo,
    revision: str,
    items: list[Item],
    facts: SuiteFacts,
    calls: float | None = 1.0,
    trial: int | None = None,
) -> None:
    """Write down that everything of a revision was made, and that its evaluations (or one trial) found these items."""
    graph, kept = repo.desire(revision).graph, open_store(repo.workspace())
    folder = folder_of(
        kept,
        {
            evidence.ITEMS: "\n".join(msgspec.json.encode(item).decode() for item in items),
            evidence.FACTS: msgspec.json.encode(facts).decode(),
        },
    )
    outcomes = [
        Outcome(
            unit=unit.digest,
            key=key,
            part=unit.label,
            step="x",
            outputs={"evidence": folder},
            metrics={} if calls is None else {"calls": calls},
            provenance=replace(PROVENANCE, started=f"2026-01-01T00:00:00.{next(TICKS):06d}Z"),
        )
        for key, node in graph.nodes.items()
        for unit in node.units
        if trial is None or unit.trial == trial
    ]
    ledger.record(repo.ledger(), outcomes, "answered")


GOOD, WORSE = [1.0] * 100, [1.0] * 60 + [0.0] * 40


@pytest.fixture
def judged(repo: Repo, llmops: Shell) -> Repo:
    """A repository whose evaluation names its metric, with evidence that it is good."""
    repo.commit(dict(system().edited("specs/sums.yaml", "dataset: rows}", "dataset: rows, metric: acc}")))
    assert llmops("init") == Exit.WELL
    repo.commit()
    return repo


def reports(shell: Shell) -> list[dict[str, object]]:
    told: list[dict[str, object]] = json.loads(shell.out)["reports"]
    return told


def test_a_change_that_looks_at_another_metric_is_judged_by_the_one_of_the_base(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD, "kind": GOOD})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.edit("specs/sums.yaml", "metric: acc", "metric: kind")
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE, "kind": GOOD})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    report = reports(llmops)[0]
    assert (report["metric"], report["gate_changed"]) == ("acc", True)
    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "(5 of 40 that got worse)" in llmops.out


@pytest.mark.parametrize(
    ("old", "new"), [("- {task", "- {name: renamed, task"), ("name: sums", "name: other")], ids=["suite", "evaluation"]
)
def test_a_change_that_gives_a_suite_another_name_is_judged_by_the_gate_that_it_had(
    old: str, new: str, judged: Repo, llmops: Shell
) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.edit("specs/sums.yaml", old, new)
    judged.edit("specs/sums.yaml", "metric: acc}", "metric: acc, gate: {rule: minimum, value: 0.1}}")
    judged.edit("specs/chat.yaml", "sums", "other") if "other" in new else None
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    report = reports(llmops)[0]
    assert (report["gate_changed"], report["is_new"]) == (True, False)


def test_a_metric_of_which_lower_is_better_is_shown_as_it_is(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": WORSE}, lower=("acc",))
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": GOOD}, lower=("acc",))

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    judgement = reports(llmops)[0]["judgement"]
    assert isinstance(judgement, dict)
    assert (judgement["base"], judgement["head"], judgement["delta"]) == (0.6, 1.0, 0.4)
    assert (judgement["worse"], judgement["verdict"]) == (40, "fail")


def test_bounds_that_are_not_finite_are_valid_json(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": [0.5]})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": [0.25]})

    llmops("gate", "--base", "HEAD~1", "-o", "json")

    assert "Infinity" not in llmops.out
    assert reports(llmops)[0]["judgement"]["low"] is None  # type: ignore[index]


def test_a_release_is_not_judged_as_the_first_when_what_is_live_cannot_be_read(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    gone = Revision(commit="0" * 40, standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    live = {"Deployment/chat": Release(live="e" * 64, revisions={"e" * 64: gone})}
    ledger.transact(judged.ledger(), lambda state: replace(state, releases=live), "somebody else released")

    assert llmops("apply") == Exit.NO

    assert "the live revision cannot be read for a comparison" in llmops.err
    assert "git fetch" in llmops.err


def test_a_release_is_not_judged_against_evidence_that_is_lost(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    graph = judged.desire().graph
    (suite, *_) = graph[Key("Evaluation", "sums")].units
    outcome = ledger.outcome(judged.ledger(), suite.digest)
    assert outcome is not None
    digest = graph[Key("Deployment", "chat")].digest
    known = Revision(commit=judged.git("rev-parse", "HEAD"), standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    live = {"Deployment/chat": Release(live=digest, revisions={digest: known})}
    ledger.transact(judged.ledger(), lambda state: replace(state, releases=live), "released before")
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE})
    forget(judged, outcome.outputs["evidence"])

    assert llmops("apply") == Exit.NO
    assert "base was not evaluated, or its evidence is not in this store" in llmops.out


# Evidence that does not decide, and what is none


def retrained(repo: Repo) -> None:
    """Change the model, which the evaluation leans on."""
    repo.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    repo.commit()


@pytest.mark.parametrize(
    ("policy", "code", "says", "state"),
    [
        ("fail", Exit.NO, "Inconclusive:", "failure"),
        ("extend", Exit.RUNNING, "Pending:", "pending"),
        ("neutral", Exit.WELL, "too little evidence for sums, few, which the gate treats as neutral.", "success"),
    ],
)
def test_a_gate_decides_what_evidence_does_that_does_not_decide(
    judged: Repo, llmops: Shell, policy: str, code: Exit, says: str, state: str
) -> None:
    judged.edit("specs/sums.yaml", "metric: acc}", f"metric: acc, gate: {{on_inconclusive: {policy}}}}}")
    judged.edit("specs/sums.yaml", "limit: 1}", f"limit: 1, gate: {{on_inconclusive: {policy}}}}}")
    judged.commit()
    answered(judged, "HEAD", {"acc": [1.0] * 10})
    retrained(judged)
    answered(judged, "HEAD", {"acc": [1.0] * 10})

    assert llmops("gate", "--base", "HEAD~1") == code
    assert says in llmops.out
    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == code
    assert json.loads(llmops.out)["state"] == state
    assert reports(llmops)[0]["judgement"]["verdict"] == "inconclusive"  # type: ignore[index]


@pytest.mark.parametrize("calls", [0, None], ids=["none", "unknown"])
@pytest.mark.parametrize("side", ["head", "base"])
def test_a_run_that_asked_no_model_is_no_evidence(judged: Repo, llmops: Shell, side: str, calls: float | None) -> None:
    items = [Item(id=str(n), question="q", target="t", answer="a", scores={"acc": 1.0}) for n in range(200)]
    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", items, facts, calls=calls if side == "base" else 800)
    retrained(judged)
    found(judged, "HEAD", items, facts, calls=calls if side == "head" else 800)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert f"no model call is recorded for {side}" in llmops.out


@pytest.mark.parametrize(("against", "shown", "sides"), [("base", 1.0, 2), ("none", None, 1)])
def test_a_gate_that_judges_head_alone_asks_nothing_of_base_unless_it_is_to_be_shown(
    judged: Repo, llmops: Shell, against: str, shown: float | None, sides: int
) -> None:
    gate = f"gate: {{rule: minimum, value: 0.5, against: {against}}}"
    judged.edit("specs/sums.yaml", "metric: acc}", f"metric: acc, {gate}}}")
    judged.edit("specs/sums.yaml", "limit: 1}", f"limit: 1, {gate}}}")
    judged.commit()
    retrained(judged)
    answered(judged, "HEAD", {"acc": GOOD})
    assert (("base", "Evaluation/sums") in owed(survey(judged))) == (sides == 2)
    assert (("base", "Training/tuned") in owed(survey(judged))) == (sides == 2)

    answered(judged, "HEAD~1", {"acc": GOOD})
    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.WELL
    assert {one["judgement"]["base"] for one in reports(llmops)} == {shown}
    assert {len(one["units"]) for one in reports(llmops)} == {sides}  # type: ignore[arg-type]


def test_a_suite_without_items_is_no_evidence(judged: Repo, llmops: Shell) -> None:
    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", [], facts)
    retrained(judged)
    found(judged, "HEAD", [], facts)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "the suite has no items" in llmops.out


def test_a_suite_that_asks_something_else_is_marked_and_not_a_pass(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": [1.0] * 200})
    judged.edit("specs/sums.yaml", "metric: acc}", "metric: acc, num_fewshot: 1}")
    judged.commit()
    answered(judged, "HEAD", {"acc": [1.0] * 200})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    judgement = reports(llmops)[0]["judgement"]
    assert isinstance(judgement, dict)
    assert (judgement["is_comparable"], judgement["head"], judgement["base"]) == (False, 1.0, None)
    assert "not comparable" in judgement["note"]


def test_the_items_that_got_worse_and_better_are_shown_with_both_answers(judged: Repo, llmops: Shell) -> None:
    def answers(right: set[int], word: str) -> list[Item]:
        return [
            Item(id=str(n), question=f"{n}?", target=str(n), answer=f"{word} {n}", scores={"acc": float(n in right)})
            for n in range(40)
        ]

    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", answers(set(range(1, 40)), "before"), facts)
    retrained(judged)
    found(judged, "HEAD", answers(set(range(15)), "after"), facts)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "(5 of 25 that got worse)" in llmops.out
    assert "base 'before 15', head 'after 15'" in llmops.out
    assert "(1 of 1 that got better)" in llmops.out
    assert "base 'before 0', head 'after 0'" in llmops.out


def tried(repo: Repo, *rights: float) -> None:
    """Write down for the last commit that its trials found every item right, or wrong, one after the other."""
    for trial, right in enumerate(rights):
        items = [
            Item(id=str(n), question="q", target="t", answer="a", scores={"acc": right}, trial=trial) for n in range(60)
        ]
        found(repo, "HEAD", items, SuiteFacts(metrics=("acc",)), trial=trial)


def set_trials(repo: Repo, number: int) -> None:
    repo.edit("specs/sums.yaml", "metric: acc", f"trials: {number}, metric: acc")
    repo.commit()


def test_the_score_of_an_item_is_the_mean_of_its_trials(judged: Repo, llmops: Shell) -> None:
    set_trials(judged, 4)
    tried(judged, 1.0, 1.0, 1.0, 0.0)
    retrained(judged)
    tried(judged, 1.0, 0.0, 1.0, 0.0)

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    judgement = reports(llmops)[0]["judgement"]
    assert isinstance(judgement, dict)
    assert (judgement["base"], judgement["head"], judgement["items"]) == (0.75, 0.5, 60)
    assert judgement["verdict"] == "fail"


def test_one_more_trial_asks_once_more_and_one_less_asks_nothing(judged: Repo, llmops: Shell) -> None:
    set_trials(judged, 2)
    tried(judged, 1.0, 1.0)
    judged.edit("specs/sums.yaml", "trials: 2", "trials: 3")
    judged.commit()

    asked = [task.action.label for task in survey(judged).tasks]
    assert asked == ["sums, trial 3"]
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert "to evaluate: Evaluation/sums sums, trial 3" in llmops.out
    assert llmops("plan") == Exit.WELL
    assert "1 to evaluate" in llmops.out
    tried(judged, 1.0, 1.0, 1.0)
    judged.edit("specs/sums.yaml", "trials: 3", "trials: 1")
    judged.commit()
    assert survey(judged).tasks == ()


def test_in_pairs_as_many_trials_are_compared_as_both_have(judged: Repo, llmops: Shell) -> None:
    set_trials(judged, 2)
    tried(judged, 1.0, 1.0)
    judged.edit("specs/sums.yaml", "trials: 2", "trials: 3")
    retrained(judged)
    tried(judged, 1.0, 1.0, 0.0)

    assert llmops("gate", "--base", "HEAD~1") == Exit.WELL, llmops.out
    assert "compared by 2 of the trials: head has 3, base 2" in llmops.out


def test_a_trial_that_was_not_asked_is_no_evidence(judged: Repo, llmops: Shell) -> None:
    set_trials(judged, 2)
    tried(judged, 1.0, 1.0)
    retrained(judged)
    tried(judged, 1.0)
    items = [Item(id=str(n), question="q", target="t", answer="a", scores={"acc": 1.0}) for n in range(60)]
    found(judged, "HEAD", items, SuiteFacts(metrics=("acc",)), calls=0.0, trial=1)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "no model call is recorded for head" in llmops.out


def test_items_of_one_cluster_are_judged_as_one(judged: Repo, llmops: Shell) -> None:
    def passages(right: float) -> list[Item]:
        return [
            Item(id=str(n), question="q", target="t", answer="a", scores={"acc": right}, cluster=str(n % 4))
            for n in range(100)
        ]

    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", passages(1.0), facts)
    retrained(judged)
    found(judged, "HEAD", passages(0.0), facts)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO

    assert "inconclusive" in llmops.out
    assert "100 items in 4 clusters" in llmops.out
