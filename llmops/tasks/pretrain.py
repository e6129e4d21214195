"""Defines the task pretrain: trains on blocks of plain text, with or without a base.

Effects: loads transformers and reads rows when a trainer is built.
"""

import importlib
from collections.abc import Iterable
from typing import Any

from llmops.domain.problems import FieldProblem
from llmops.plugins.training_task import TrainerInputs, TrainingTask


def check(training: Any) -> Iterable[FieldProblem]:
    if training.arguments.packing:
        yield FieldProblem("arguments.packing", "pretrain always packs its blocks.", "Remove it.")


def trainer(inputs: TrainerInputs) -> Any:
    """Build a Trainer over blocks of `max_length` tokens; the tokens after the last whole block are dropped."""
    transformers, datasets = importlib.import_module("transformers"), importlib.import_module("datasets")
    blocks = _blocks(inputs)
    return transformers.Trainer(
        inputs.causal_lm(),
        transformers.TrainingArguments(**inputs.arguments),
        train_dataset=datasets.Dataset.from_dict({"input_ids": blocks, "labels": blocks}),
        data_collator=transformers.default_data_collator,
    )


def _blocks(inputs: TrainerInputs) -> list[list[int]]:
    length: int = inputs.training.arguments.max_length
    ids: list[int] = []
    for row in inputs.rows:
        ids += [*inputs.tokenizer(row["text"], verbose=False)["input_ids"], inputs.tokenizer.eos_token_id]
    blocks = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    if not blocks:
        raise ValueError(f"the data has {len(ids)} tokens, fewer than one block of max_length {length}")
    return blocks


TASK = TrainingTask(formats=("text",), trainer=trainer, needs_base=False, check=check)
