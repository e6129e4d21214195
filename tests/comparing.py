"""Subjects to compare, and answers of theirs that nothing computed."""

from __future__ import annotations

import json

from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import compare, comparison_plan
from llmops.gates.compare import PreparedComparison
from llmops.gates.comparison_plan import ComparisonRequest
from llmops.ledger import ledger
from tests.answers import evidence_of, outcome
from tests.repos import Repo
from tests.trees import Tree, spec, system

FACTS = SuiteFacts(metrics=("acc",))


HALF, MOST = [1.0, 0.0] * 50, [1.0, 1.0, 1.0, 0.0] * 25


def schoolbook() -> Tree:
    """Return the small system with rows that hold questions, another prompt, and an evaluation without a prompt."""
    rows = "".join(
        json.dumps({"messages": [{"role": "user", "content": f"{n}?"}], "question": f"{n}?"}) + "\n" for n in range(4)
    )
    tree = system().edited("specs/sums.yaml", "- {task", "- {name: sums, task")
    plain = "subject: {model: base}\nsuites: [{task: evals/sums.yaml, dataset: rows}, {name: few, task: evals/sums.yaml, dataset: rows, limit: 2}]"
    return Tree(
        {
            **tree,
            "data/rows.jsonl": rows,
            "prompts/beg.jinja": "Please: {{ question }}\n",
            "specs/beg.yaml": spec(
                "Prompt", "beg", "template: prompts/beg.jinja\nvariables: {question: {type: string}}"
            ),
            "specs/plain.yaml": spec("Evaluation", "plain", plain),
        }
    )


def survey(repo: Repo, *subjects: str, suites: tuple[str, ...] = ("sums/few",), model: str = "") -> PreparedComparison:
    desired = repo.desire()
    words = ComparisonRequest(subjects=subjects, suites=suites, model=model)
    return compare.prepare(repo.workspace(), desired, comparison_plan.make(words, desired.graph))


def answered(
    repo: Repo, scores: dict[str, list[float]], facts: SuiteFacts = FACTS, clusters: int = 0, calls: float = 100
) -> None:
    """Write down that these subjects were asked the suite `few` of Evaluation/sums, and what they scored."""
    found = survey(repo, *scores)
    made = {task.action.unit for task in found.tasks if task.action.key.kind != "Evaluation"}
    for side, values in zip(found.subjects, scores.values(), strict=True):
        (key,) = side.keys
        (unit,) = side.desired.graph[key].units
        items = [
            Item(id=str(n), question="q", target="t", answer="a", scores=dict.fromkeys(facts.metrics, value),
                 cluster=str(n % clusters) if clusters else "")
            for n, value in enumerate(values)
        ]  # fmt: skip
        outputs = {"evidence": evidence_of(repo, items, facts)}
        outcomes = [
            outcome(one, key=key, part="few", outputs=outputs, metrics={"calls": calls}) for one in (unit.digest, *made)
        ]
        ledger.record(repo.ledger(), outcomes, "answered")
