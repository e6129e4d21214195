"""Contract with lm-eval's clients and the engines: a deployment's revision is asked as the gateway asks it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml
from msgspec import Raw

from llmops.domain import orders
from llmops.domain.orders import Input, Order
from llmops.domain.resources import Key
from llmops.host import file_locks
from llmops.kinds.evaluation.sampling import SamplingBudget
from llmops.serving.supervised import LOCK
from llmops.store import blobs
from llmops.store.blobs import Store
from tests import tiny
from tests.tiny import Asked

pytestmark = pytest.mark.slow

WRITING = {
    "task": "tiny",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "temperature": 0.7, "top_p": 0.5},
    "metric_list": [{"metric": "exact_match"}],
}
ROWS = [{"question": f"What is {number}?", "answer": str(number)} for number in range(4)]
PROMPT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say: {{ question }}"},
    ],
    "variables": {"question": {"type": "string"}},
    "parameters": {"temperature": 0.0, "max_tokens": 5},
}


def of_deployment(
    kept: Store, model: Path, engine: dict[str, Any], prompt: dict[str, Any] | None = None
) -> dict[str, Any]:
    body = Raw(json.dumps({"model": "m", "engine": engine, "progress_deadline": "60s"}).encode())
    given = Input(key=Key("Deployment", "chat"), body=body, outputs={"model": blobs.add_folder(kept, model)})
    inputs = {"subject.deployment": given}
    if prompt:
        inputs["subject.deployment.prompt"] = Input(key=Key("Prompt", "ask"), body=Raw(json.dumps(prompt).encode()))
    return {"inputs": inputs, "subject": {"deployment": "chat"}, "task": yaml.safe_dump(WRITING), "rows": ROWS}


def echo(**config: Any) -> dict[str, Any]:
    return {"type": "echo", "config": config}


@pytest.fixture(autouse=True)
def nothing_runs_on(tmp_path: Path) -> Iterator[None]:
    """Whatever happened, no engine outlives its order."""
    yield
    assert [path for path in tmp_path.rglob(f"engine/*/{LOCK}") if file_locks.holder(path)] == []


@pytest.mark.usefixtures("plugins")
def test_an_engine_is_asked_what_a_client_of_the_gateway_makes_it_be_asked(
    tmp_path: Path, kept: Store, model: Path
) -> None:
    (made,) = tiny.evaluated(tmp_path, kept, Asked(**of_deployment(kept, model, echo(), PROMPT)))

    asked = [json.loads(item.answer) for item in made.items]
    assert asked[0] == {
        "model": "model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Say: What is 0?"},
        ],
        "temperature": 0.0,  # the prompt's, not the task's
        "max_tokens": 5,
    }
    assert [one["messages"][1]["content"] for one in asked] == [f"Say: {row['question']}" for row in ROWS]
    assert [item.question for item in made.items] == [f"Say: {row['question']}" for row in ROWS]
    assert made.metrics["calls"] == len(ROWS)


@pytest.mark.usefixtures("plugins")
def test_without_a_prompt_the_questions_are_messages_or_texts_as_the_evaluation_says(
    tmp_path: Path, kept: Store, model: Path
) -> None:
    subject = of_deployment(kept, model, echo())
    chat = Asked(**subject, fields={"apply_chat_template": True}, suite={"num_fewshot": 1})

    said, gone_on = tiny.evaluated(tmp_path, kept, chat, Asked(**subject, fields={"batch_size": 1}))

    asked = json.loads(said.items[0].answer)
    assert [one["role"] for one in asked["messages"]] == ["user", "assistant", "user"]
    assert asked["max_tokens"] == 8
    assert said.items[0].question == "What is 0?"
    assert [item.answer for item in gone_on.items] == ["pong"] * len(ROWS)


@pytest.mark.usefixtures("plugins")
def test_suites_of_one_deployment_share_its_engine(tmp_path: Path, kept: Store, model: Path) -> None:
    subject = of_deployment(kept, model, echo(tag="#"), PROMPT)

    made = tiny.evaluated(tmp_path, kept, Asked(**subject), Asked(**subject, suite={"limit": 2}))

    assert [len(one.items) for one in made] == [4, 2]
    (log,) = (tmp_path / "work").rglob("engine/*/log")
    assert log.read_text().count("POST /v1/completions") == 1  # the first question of an engine that has just started
    assert log.read_text().count("POST /v1/chat/completions") == 6


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (echo(fails="crash"), "the engine of Deployment/chat did not start: it ended with code 3 while it started"),
        (echo() | {"version": "2"}, "Deployment/chat asks for echo 2, and 1 is installed"),
        (echo(fails="errors"), r"the engine of Deployment/chat did not answer \(ClientResponseError: 500"),
        (echo(fails="evades"), r"did not answer \(ClientPayloadError: .* no choices in .*out of memory"),
    ],
)
def test_an_engine_that_does_not_answer_is_no_evidence_and_says_why(
    tmp_path: Path, kept: Store, model: Path, engine: dict[str, Any], why: str
) -> None:
    from llmops.steps.context import StepFailed

    with pytest.raises(StepFailed, match=why):
        tiny.evaluated(tmp_path, kept, Asked(**of_deployment(kept, model, engine, PROMPT)))


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    "how", [{}, {"suite": {"sequential": True}, "budget": SamplingBudget()}], ids=["at once", "in batches"]
)
def test_an_engine_that_fails_at_a_question_shows_the_end_of_its_log(
    tmp_path: Path, kept: Store, model: Path, how: dict[str, Any]
) -> None:
    from llmops.steps.context import StepFailed

    with pytest.raises(StepFailed, match="Deployment/chat did not answer") as error:
        tiny.evaluated(tmp_path, kept, Asked(**of_deployment(kept, model, echo(fails="errors"), PROMPT), **how))

    (log,) = (tmp_path / "work").rglob("engine/*/log")
    _, _, shown = str(error.value).partition(f"The end of its log, {log}:\n")
    assert shown
    assert {line.removeprefix("  ") for line in shown.splitlines()} <= set(log.read_text().splitlines())


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("budget", [None, SamplingBudget()], ids=["at once", "in batches"])
@pytest.mark.parametrize("subject", ["model", "deployment"])
def test_rows_that_the_schemas_of_a_prompt_forbid_are_named_before_the_first_is_asked(
    tmp_path: Path, kept: Store, model: Path, subject: str, budget: SamplingBudget | None
) -> None:
    from llmops.steps.context import StepFailed

    strict = PROMPT | {"variables": {"question": {"type": "string", "pattern": r"^What is \d+\?$"}}}
    asked = of_deployment(kept, model, echo(), strict)
    if subject == "model":
        prompt = asked["inputs"]["subject.deployment.prompt"]
        asked |= tiny.of_model(kept, model)
        asked["inputs"] |= {"subject.prompt": prompt}
        asked["subject"] |= {"prompt": "ask"}
    rows = [ROWS[0], {"question": "What?", "answer": "1"}, ROWS[2], {"question": "Why 3?", "answer": "3"}]

    with pytest.raises(StepFailed) as error:
        tiny.evaluated(tmp_path, kept, Asked(**asked | {"rows": rows}, budget=budget))

    assert str(error.value) == (
        "Evaluation/tiny task: Prompt/ask cannot be filled in from 2 of the 4 rows:\n"
        """  row 2: the variable "question" is not valid: 'What?' does not match the pattern ^What is \\d+\\?$. """
        "The row has answer, question.\n"
        """  row 4: the variable "question" is not valid: 'Why 3?' does not match the pattern ^What is \\d+\\?$. """
        "The row has answer, question."
    )


@pytest.mark.usefixtures("plugins")
def test_what_needs_likelihoods_is_refused(tmp_path: Path, kept: Store, model: Path) -> None:
    from llmops.steps.context import StepFailed

    choice = {**WRITING, "output_type": "multiple_choice", "doc_to_choice": ["0", "1"], "metric_list": []}
    asked = {**of_deployment(kept, model, echo()), "task": yaml.safe_dump(choice)}

    with pytest.raises(StepFailed, match=r"multiple_choice, and the engine of Deployment/chat answers with text"):
        tiny.evaluated(tmp_path, kept, Asked(**asked))


STEP = """
import sys
from pathlib import Path
import llmops.serving.engines
llmops.serving.engines.__path__.append(sys.argv[2])
from llmops.steps.__main__ import main
sys.exit(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_ends_with_the_step_that_started_it(
    tmp_path: Path, kept: Store, model: Path, plugins: Path, how: signal.Signals
) -> None:
    assert plugins.exists()
    subject = of_deployment(kept, model, echo(delay=60.0), PROMPT)
    work = tmp_path / "order"
    work.mkdir()
    job = tiny.job(kept, tmp_path, 0, Asked(**subject))
    order = Order(name="order", step="llmops.steps.evaluation.evaluate", jobs=(job,), store=kept.url)
    (work / orders.ORDER).write_bytes(msgspec.json.encode(order))
    folder = str(Path(__file__).parent.parent / "plugins" / "engines")
    step = subprocess.Popen([sys.executable, "-c", STEP, str(work), folder], start_new_session=True)
    try:
        log = _asked(work, step)
        tree = psutil.Process(step.pid).children(recursive=True)
        assert len(tree) == 2  # the supervisor and the engine
    finally:
        os.kill(step.pid, how)
        step.wait(30)

    assert "POST /v1/completions" in log.read_text()
    _, alive = psutil.wait_procs(tree, timeout=20)
    assert alive == []
    assert not (work / orders.RESULTS / f"{job.unit}.json").exists()


def _asked(work: Path, step: subprocess.Popen[bytes]) -> Path:
    """Wait until the engine of an order is up and about to be asked; give its log."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and step.poll() is None:
        for log in work.rglob("engine/*/log"):
            if "POST /v1/completions" in log.read_text():
                return log
        time.sleep(0.1)
    raise AssertionError("the engine was not started")


def test_the_engine_that_serves_says_what_its_model_says(tmp_path: Path, kept: Store, model: Path) -> None:
    """`transformers serve`, as it is released, beside the same model in this process."""
    prompt = {**PROMPT, "parameters": {"temperature": 0.0, "max_tokens": 6}}
    through = of_deployment(kept, model, {"type": "transformers"}, prompt)
    inputs = {"subject.prompt": Input(key=Key("Prompt", "ask"), body=Raw(json.dumps(prompt).encode()))}
    beside = tiny.of_model(kept, model)
    beside = {**through, "inputs": beside["inputs"] | inputs, "subject": {"model": "m", "prompt": "ask"}}

    served, alone = tiny.evaluated(tmp_path, kept, Asked(**through), Asked(**beside))

    assert [item.question for item in served.items] == [item.question for item in alone.items]
    assert [item.answer for item in served.items] == [item.answer for item in alone.items]
    assert all(item.answer for item in served.items)
