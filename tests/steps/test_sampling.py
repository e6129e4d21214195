"""How answers are made: what a prompt says of it counts, and what it leaves open is as the task has it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from llmops.domain.orders import Input, Job
from llmops.domain.resources import Key
from llmops.kinds.evaluation.spec import Evaluation, Subject, Suite
from llmops.kinds.prompt import Message, Parameters, Prompt
from llmops.steps.context import StepContext
from llmops.steps.evaluation import lm_eval_task
from llmops.steps.redaction import Redaction
from llmops.store import blobs

WRITES = SimpleNamespace(tokenizer=SimpleNamespace(apply_chat_template=lambda turns, **_: turns[-1]["content"]))
"""As much of a model as writing a question takes."""
OWN = {"do_sample": True, "temperature": 0.7, "until": ["\n"], "max_gen_toks": 20}
TASK = """\
task: t
dataset_path: json
dataset_kwargs: {data_files: {test: data/rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: x
doc_to_target: y
"""


def asked(folder: Path, parameters: Parameters, own: dict[str, Any]) -> dict[str, Any]:
    """Return what a task is asked with through a prompt."""
    kept = blobs.open_at((folder / "store").as_uri())
    task = TASK + (f"generation_kwargs: {msgspec.json.encode(own).decode()}\n" if own else "")
    files = {
        "evals/t.yaml": blobs.add_bytes(kept, task.encode()),
        "data/rows.jsonl": blobs.add_bytes(kept, b'{"x": "a", "y": "b"}\n'),
    }
    prompt = Prompt(messages=(Message(role="user", content="{{ x }}"),), variables={"x": {}}, parameters=parameters)
    job = Job(
        unit="0" * 64,
        key=Key("Evaluation", "e"),
        field="suites",
        index=0,
        body=msgspec.Raw(
            msgspec.json.encode(Evaluation(subject=Subject(model="m"), suites=(Suite(task="evals/t.yaml"),)))
        ),
        files=files,
        inputs={"subject.prompt": Input(key=Key("Prompt", "p"), body=msgspec.Raw(msgspec.json.encode(prompt)))},
    )
    made = lm_eval_task.task(job, WRITES, StepContext(folder / "order", kept, cluster=False, redaction=Redaction()))
    return dict(made.config.generation_kwargs)


@pytest.mark.parametrize(
    ("parameters", "own", "expected"),
    [
        (Parameters(), OWN, OWN),
        (Parameters(max_tokens=8), OWN, OWN | {"max_gen_toks": 8}),
        (Parameters(temperature=0), OWN, OWN | {"do_sample": False, "temperature": 0.0}),
        (Parameters(top_p=0.5), OWN, OWN | {"top_p": 0.5}),
        (Parameters(stop=("END",)), OWN, OWN | {"until": ["END"]}),
        (Parameters(max_tokens=8), {}, {"until": ["\n\n"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 8}),
    ],
    ids=["nothing", "max_tokens", "temperature", "top_p", "stop", "a task without a word"],
)
def test_what_a_prompt_leaves_open_is_as_the_task_has_it(
    parameters: Parameters, own: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    assert asked(tmp_path, parameters, own) == expected
