"""Several trials of one suite, and items of one cluster."""

from __future__ import annotations

from llmops.domain.problems import Exit
from llmops.execution.evidence import Item, SuiteFacts
from tests.answers import found, reports, retrained, survey
from tests.conftest import Shell
from tests.repos import Repo


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
