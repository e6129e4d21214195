"""What a gate finds owed: what nobody made, and what this machine's store does not hold."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from llmops import evidence, gating, ledger, store
from llmops.evidence import Item, SuiteFacts
from llmops.gating import Comparison
from llmops.problems import Exit
from llmops.records import Outcome, Provenance, Release, Revision, Standing
from llmops.sites import open_store
from llmops.store import Store
from llmops.values import Digest, Key
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import system

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


def survey(repo: Repo) -> Comparison:
    return gating.survey(repo.site(), repo.desire("HEAD~1"), repo.desire("HEAD"))


def owed(found: Comparison) -> set[tuple[str, str]]:
    """Give what is owed, and of which side."""
    base = found.base.graph
    return {("base" if task.wanted.graph is base else "head", str(task.action.key)) for task in found.owed}


def pretend(repo: Repo, *keys: str) -> list[Digest]:
    """Write down for the base that these were made, with bytes in the store; gives the digests of the bytes."""
    graph, kept = repo.desire("HEAD~1").graph, open_store(repo.site())
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
        return store.add_folder(kept, Path(folder))


MADE = ("Dataset/corpus", "Dataset/rows", "Training/base", "Training/tuned", "Evaluation/sums")


def test_what_was_made_for_the_base_is_not_owed(change: Repo) -> None:
    pretend(change, *MADE)

    assert owed(survey(change)) == {("head", "Training/tuned"), ("head", "Evaluation/sums")}


@pytest.mark.parametrize("part", ["manifest", "file"])
def test_evidence_that_this_store_does_not_hold_is_made_again_and_nothing_else(change: Repo, part: str) -> None:
    *_, last = pretend(change, *MADE)
    kept = open_store(change.site())
    forget(change, last if part == "manifest" else store.manifest(kept, last).files["x"].sha256)

    found = owed(survey(change))

    assert found == {("head", "Training/tuned"), ("head", "Evaluation/sums"), ("base", "Evaluation/sums")}


def test_on_a_machine_with_an_empty_store_everything_that_is_read_is_made_again(change: Repo) -> None:
    for digest in pretend(change, *MADE):
        forget(change, digest)

    found = owed(survey(change))

    assert {key for _, key in found} == set(MADE)


def forget(repo: Repo, digest: Digest) -> None:
    folder = repo.site().folder / "store"
    (path,) = (path for path in folder.rglob("*") if path.is_file() and digest in f"{path.parent.name}{path.name}")
    path.unlink()


def test_a_dry_run_says_with_its_exit_code_that_something_is_affected(change: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", "--detailed-exitcode") == Exit.CHANGES
    assert "Evaluation/sums" in llmops.out
    assert llmops("gate", "--base", "HEAD", "--dry-run", "--detailed-exitcode") == Exit.WELL


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
    graph, kept = repo.desire(revision).graph, open_store(repo.site())
    numbers = range(len(next(iter(scores.values()))))
    items = [
        Item(id=str(n), question=question, target="t", answer="a", scores={name: scores[name][n] for name in scores})
        for n in numbers
    ]
    facts = SuiteFacts(metrics=tuple(scores), lower_is_better=lower)
    found = folder_of(
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
            outputs={"evidence": found},
            metrics={},
            provenance=PROVENANCE,
        )
        for key, node in graph.nodes.items()
        for unit in node.units
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
    found: list[dict[str, object]] = json.loads(shell.out)["reports"]
    return found


def test_a_change_that_looks_at_another_metric_is_judged_by_the_one_of_the_base(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD, "kind": GOOD})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.edit("specs/sums.yaml", "metric: acc", "metric: kind")
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE, "kind": GOOD})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    found = reports(llmops)[0]
    assert (found["metric"], found["gate_changed"]) == ("acc", True)
    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "(5 of 40 that got worse)" in llmops.out


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

    assert "what is live cannot be compared with" in llmops.err
    assert "git fetch" in llmops.err


def test_a_release_is_not_judged_against_evidence_that_is_lost(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    graph = judged.desire().graph
    (suite, *_) = graph[Key("Evaluation", "sums")].units
    found = ledger.outcome(judged.ledger(), suite.digest)
    assert found is not None
    digest = graph[Key("Deployment", "chat")].digest
    known = Revision(commit=judged.git("rev-parse", "HEAD"), standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    live = {"Deployment/chat": Release(live=digest, revisions={digest: known})}
    ledger.transact(judged.ledger(), lambda state: replace(state, releases=live), "released before")
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE})
    forget(judged, found.outputs["evidence"])

    assert llmops("apply") == Exit.NO
    assert "base was not evaluated, or its evidence is not in this store" in llmops.out
