"""The policies of task files cover what the installed lm-eval reads, registers and ships."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
import yaml
from jinja2 import TemplateError
from lm_eval import utils
from lm_eval.api import metrics, registry, samplers
from lm_eval.config.task import FewshotConfig, TaskConfig

from llmops.kinds.evaluation import task_policy
from llmops.kinds.evaluation.task_policy import POLICIES
from llmops.language import task_templates

SHIPPED = Path(lm_eval.tasks.__file__).parent
TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix")
ROW = {
    **dict.fromkeys(
        ("question", "text", "premise", "hypothesis", "sentence1", "sentence2", "passage"), " What is it? "
    ),
    "answer": 1,
    "label": 0,
    "choices": ["a", "b"],
    "options": ["x", "y", "z"],
    "endings": ["1", "2"],
    "answers": {"text": ["a"]},
    "questions": ["a", "b"],
    "ctx": "c",
    "title": "T",
    "target": "t",
    "A": "1",
    "B": "2",
}


def test_every_task_field_of_lm_eval_has_a_policy() -> None:
    fields = {field.name for field in dataclasses.fields(TaskConfig)}

    assert fields | {"include"} == task_policy.FIELDS


def test_every_part_of_the_few_shot_configuration_has_a_policy() -> None:
    parts = {name.partition(".")[2] for name in POLICIES if name.startswith("fewshot_config.")}

    assert parts == {field.name for field in dataclasses.fields(FewshotConfig)}


def test_the_allow_lists_are_what_lm_eval_registers() -> None:
    assert metrics.mean  # registers
    assert frozenset(registry.METRIC_REGISTRY.keys()) == task_policy.METRICS
    assert frozenset(registry.AGGREGATION_REGISTRY.keys()) == task_policy.AGGREGATIONS
    assert frozenset(registry.FILTER_REGISTRY.keys()) == task_policy.FILTERS
    assert frozenset(samplers.SAMPLER_REGISTRY) == task_policy.SAMPLERS


def shipped_templates() -> list[str]:
    """Every template of the tasks that lm-eval ships."""

    class Loader(yaml.CSafeLoader):
        pass

    Loader.add_constructor("!function", lambda *_: None)
    found: set[str] = set()
    for path in SHIPPED.rglob("*yaml"):
        data = path.read_bytes()
        if b"{{" not in data and b"{%" not in data:
            continue
        task: Any = yaml.load(data, Loader=Loader)  # noqa: S506  a safe loader with one more tag
        if isinstance(task, dict):
            found.update(task[name] for name in TEMPLATES if isinstance(task.get(name), str))
    return sorted(found)


def outcome(render: Any, template: str) -> str:
    try:
        return str(render(template, ROW))
    except (TemplateError, TypeError, ValueError, LookupError):
        return "an error"


@pytest.mark.timeout(120)
def test_templates_of_the_shipped_tasks_render_alike_in_the_sandbox() -> None:
    """So the sandbox is used for tasks of lm-eval, too."""
    templates = shipped_templates()

    assert len(templates) > 500
    for template in templates:
        task_templates.check(template)
        assert outcome(task_templates.render, template) == outcome(utils.apply_template, template), template
