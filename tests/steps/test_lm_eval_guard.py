"""Whatever a task file says, lm-eval renders it in our sandbox and runs no program of the hub."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from llmops.steps.context import StepFailed
from llmops.steps.evaluation import lm_eval_guard
from llmops.store.blobs import Store
from tests import tiny
from tests.tiny import Asked

pytestmark = pytest.mark.slow

ROWS = [{"question": f"q{number}", "answer": "a"} for number in range(4)]
SHELL = "{{ cycler.__init__.__globals__.os.popen('touch %s').read() }}"
TASK = """\
task: t
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {max_gen_toks: 2, until: ["x"]}
"""


@pytest.mark.parametrize("field", ["doc_to_text", "doc_to_target", "description", "gen_prefix"])
def test_a_template_of_a_task_starts_no_shell(tmp_path: Path, kept: Store, model: Path, field: str) -> None:
    trace = tmp_path / "pwned"
    lines = [line for line in TASK.splitlines() if not line.startswith(field)]
    task = "\n".join([*lines, f'{field}: "{SHELL % trace}"\n'])

    with pytest.raises(StepFailed, match="Evaluation/tiny task: "):
        tiny.evaluated(tmp_path, kept, Asked(**tiny.of_model(kept, model), task=task, rows=ROWS))

    assert not trace.exists()


@pytest.mark.parametrize("metric", ["{metric: attacker/evil}", "{metric: attacker/evil, hf_evaluate: true}"])
def test_a_metric_of_the_hub_is_an_error(tmp_path: Path, kept: Store, model: Path, metric: str) -> None:
    task = f"{TASK}metric_list: [{metric}]\n"

    with pytest.raises(StepFailed, match="the metric attacker/evil is a program of the hub"):
        tiny.evaluated(tmp_path, kept, Asked(**tiny.of_model(kept, model), task=task, rows=ROWS))


def test_evaluate_loads_no_program() -> None:
    lm_eval_guard.install()

    with pytest.raises(StepFailed, match=r"evaluate\.load: bleu is a program of the hub"):
        importlib.import_module("evaluate").load("bleu")


@pytest.mark.timeout(60)
def test_a_chat_template_without_an_end_fails_its_suite(tmp_path: Path, kept: Store, model: Path) -> None:
    subject = tmp_path / "endless"
    subject.mkdir()
    for path in model.iterdir():
        (subject / path.name).write_bytes(path.read_bytes())
    loops = "{% for a in range(99999) %}" * 3
    (subject / "chat_template.jinja").write_text(f"{loops}{'{% endfor %}' * 3}x")
    asked = Asked(**tiny.of_model(kept, subject), task=TASK, rows=ROWS, fields={"apply_chat_template": True})

    with pytest.raises(StepFailed, match="Evaluation/tiny task: the chat template of the model takes more than"):
        tiny.evaluated(tmp_path, kept, asked)
