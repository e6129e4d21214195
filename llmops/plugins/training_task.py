"""Defines training tasks: files in `llmops/tasks/`, each with one `TASK`.

Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmops.domain.problems import FieldProblem


class TrainerInputs(Struct, frozen=True, kw_only=True):
    """Inputs of the trainer of a task. All seeds are set."""

    training: Any
    """The body of the Training (`llmops.kinds.training.Training`)."""
    start: str
    """The folder of the base; without a base, the folder of the new tokenizer."""
    has_base: bool
    tokenizer: Any
    """A `PreTrainedTokenizerBase`."""
    format: str
    """The format of the rows, one of the task's `formats`."""
    rows: Iterable[Mapping[str, Any]]
    """The rows of the mixture in order, with all their columns; can be read once."""
    causal_lm: Callable[[], Any]
    """Loads the base; without a base, draws the weights of a new model for the tokenizer."""
    lora: Callable[[str], Any]
    """Configures the adapter for a task type of peft (``CAUSAL_LM``); None where all weights are trained."""
    dataset: Callable[[Sequence[str]], Any]
    """Makes a `datasets.Dataset` of some columns of the rows. Raises an error when there is no row."""
    arguments: Mapping[str, Any]
    """Arguments for transformers' `TrainingArguments` and its subclasses in trl."""


class TrainingTask(Struct, frozen=True, kw_only=True):
    """One way to train. The planner reads it, so its module imports no training library at its top."""

    formats: tuple[str, ...]
    """Dataset formats that the task trains on."""
    trainer: Callable[[TrainerInputs], Any]
    """Builds a `transformers.Trainer` or a subclass; loads its libraries by `importlib.import_module`."""
    needs_base: bool = True
    """False: a Training without a base builds its model from `architecture` and `tokenizer`."""
    check: Callable[[Any], Iterable[FieldProblem]] = lambda _: ()
    """Yields problems of a Training body that concern this task only."""
