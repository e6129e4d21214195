"""Replaces the parts of lm-eval that would run what a task file says without a limit.

lm-eval renders templates in Jinja's plain environment, and downloads a metric that it does not know from the hub and
runs it. In this process, templates are rendered in our sandbox, and no program comes from the hub. `check` enforces
the same policies (`llmops.kinds.evaluation.task_policy`); this holds for whatever reaches lm-eval otherwise.

Effects: changes modules of this process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from lm_eval import utils
from lm_eval.api import metrics, registry, task

from llmops.language import task_templates
from llmops.steps import chat_templates
from llmops.steps.context import StepFailed

NO_PROGRAMS = "is a program of the hub, which no commit pins. Use a metric of lm-eval, or a !function of the commit."


def install() -> None:
    """Guard this process. It may be called repeatedly."""
    utils.apply_template = task_templates.render
    task.get_metric = registry.get_metric = registered_metric
    sys.modules["evaluate"] = _closed_evaluate()
    chat_templates.install()


def registered_metric(name: str, hf_evaluate_metric: bool = False) -> Callable[..., Any]:  # noqa: FBT001, FBT002  lm-eval's
    """Find a metric that lm-eval registers. Raises `StepFailed` in place of lm-eval's download."""
    assert metrics.mean  # noqa: S101  the import registers the metrics
    if hf_evaluate_metric or name not in registry.METRIC_REGISTRY:
        raise StepFailed(f"the metric {name} {NO_PROGRAMS}")
    metric: Callable[..., Any] = registry.METRIC_REGISTRY.get(name)
    return metric


def _closed_evaluate() -> ModuleType:
    """Make a stand-in for the library `evaluate`, which loads programs by name."""
    module = ModuleType("evaluate", "Loads nothing.")
    module.__spec__ = ModuleSpec("evaluate", None)
    module.load = _refuse  # type: ignore[attr-defined]
    return module


def _refuse(path: str, *_: Any, **__: Any) -> Any:
    raise StepFailed(f"evaluate.load: {path} {NO_PROGRAMS}")
