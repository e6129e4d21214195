"""kill -9 while models are asked: in batches, with a judge, and through the engine of a deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from llmops.domain.orders import LOCK
from llmops.domain.problems import Exit
from llmops.host import file_locks
from llmops.ledger import ledger
from tests import crashing, tiny
from tests.conftest import SOAK, Shell
from tests.crashing import crash
from tests.repos import Repo
from tests.served import assert_nothing_else_runs
from tests.trees import spec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plugins")]

ITEMS = 30
GATE = "gate: {rule: non_inferiority, margin: 0.9, on_inconclusive: neutral}"
TASK = """\
task: letters
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [a, b]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
ROWS = "".join(json.dumps({"question": f"Item {number}?", "answer": "a"}) + "\n" for number in range(ITEMS))
EVALUATIONS = {
    "letters": f"subject: {{model: m}}\nsuites: [{{task: evals/letters.yaml, dataset: rows, sequential: true, {GATE}}}]",
    "polite": "subject: {model: m, prompt: ask}\nsuites: [{name: polite, dataset: rows, limit: 2, metric: said, "
    f"assert: [{{type: llm-rubric, value: Is it polite?}}, {{type: contains, value: a, metric: said}}], judge: {{model: judge}}, {GATE}}}]",
    "served": "subject: {deployment: chat}\nsuites: [{name: served, dataset: rows, limit: 2, "
    f"assert: [{{type: contains, value: pong}}], {GATE}}}]",
    "spoken": "subject: {deployment: chat}\nsuites: [{name: spoken, dataset: rows, sequential: true, "
    f"assert: [{{type: contains, value: pong}}], {GATE}}}]",
}
"""Asked in batches, with a judge, and through an engine, at once and in batches; one order does all of them."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tiny.model(tmp_path_factory.mktemp("models") / "m", length=1024)
    return tiny.files(folder, "m") | tiny.files(folder, "judge")


@pytest.fixture
def asked(repo: Repo, llmops: Shell, models: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """A repository whose last commit changes what everything is asked of."""
    crashing.start_steps_here(monkeypatch.setattr)
    engine = "engine: {type: echo}\nstrategy: {canary: {steps: []}}\nprogress_deadline: 15s"
    llmops.begin(
        {
            **models,
            "llmops.yaml": "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gateway: {port: 0, drain: 1s}}\n",
            "evals/letters.yaml": TASK,
            "data/rows.jsonl": ROWS,
            "specs/rows.yaml": spec("Dataset", "rows", "format: rows\nsources: [{path: data/rows.jsonl}]"),
            "specs/m.yaml": spec("Model", "m", "source: {path: models/m}\nstage: approved"),
            "specs/judge.yaml": spec("Model", "judge", "source: {path: models/judge}"),
            "specs/ask.yaml": spec(
                "Prompt",
                "ask",
                "messages: [{role: user, content: '{{ question }}'}]\nvariables: {question: {}}\n"
                "parameters: {max_tokens: 4}",
            ),
            "specs/chat.yaml": spec("Deployment", "chat", f"model: m\nprompt: ask\n{engine}"),
            **{f"specs/{name}.yaml": spec("Evaluation", name, body) for name, body in EVALUATIONS.items()},
        }
    )
    repo.commit({"models/m/README.md": "The same.\n"})
    yield repo
    llmops("stop")
    assert_nothing_else_runs(llmops)


WORDS = {"apply": ("apply",), "gate": ("gate", "--base", "HEAD~1")}
EVERY = [
    (f"{when} {what}", after)
    for what in ("state", "start", "store", "said", "result", "push")
    for when in ("before", "after")
    for after in ((0, 3) if what in ("store", "said") else (0,))
]
FEW = [("before said", 1), ("after store", 3), ("after start", 0), ("after result", 0), ("before state", 1)]


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize(("point", "after"), EVERY if SOAK else FEW)
def test_asking_that_was_killed_goes_on(command: str, point: str, after: int, asked: Repo, llmops: Shell) -> None:
    where = point if "push" in point else f"{point}@evaluation"
    assert crash(asked.folder, where, after, *WORDS[command]), "it was not killed"

    assert llmops(*WORDS[command]) == Exit.WELL, llmops.out + llmops.err
    llmops.is_clean()

    outcomes = ledger.outcomes(asked.ledger())
    graph = asked.desire().graph
    units = {unit.digest for node in graph.nodes.values() for unit in node.units}
    assert units <= outcomes.keys()
    for folder in asked.workspace().work.glob("*-*"):
        assert not file_locks.holder(folder / LOCK), "a step still runs"
        assert not (folder / "scratch").exists(), f"{folder.name} left what it worked with"
