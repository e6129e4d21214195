"""Defines the task sft: supervised fine-tuning on text, conversations or prompts with their completions.

Effects: loads trl and reads rows when a trainer is built.
"""

from __future__ import annotations

import importlib
from typing import Any

from llmops.plugins.training_task import TrainerInputs, TrainingTask

COLUMNS = {"text": ("text",), "messages": ("messages",), "prompt_completion": ("prompt", "completion")}
"""The columns that each format trains on; rows may have more."""
ARGUMENTS = ("packing", "assistant_only_loss", "completion_only_loss", "max_length")
"""Arguments of SFTConfig that TrainingArguments lacks."""


def trainer(inputs: TrainerInputs) -> Any:
    trl = importlib.import_module("trl")
    models = importlib.import_module("llmops.steps.training.models")
    rows = importlib.import_module("llmops.steps.training.rows")
    own = {name: getattr(inputs.training.arguments, name) for name in ARGUMENTS}
    return trl.SFTTrainer(
        models.causal_lm(inputs),
        args=trl.SFTConfig(**inputs.arguments, **own, dataset_num_proc=None),
        train_dataset=rows.dataset(inputs.rows, COLUMNS[inputs.format]),
        processing_class=inputs.tokenizer,
        peft_config=models.lora(inputs.training, "CAUSAL_LM"),
    )


TASK = TrainingTask(formats=tuple(COLUMNS), trainer=trainer)
