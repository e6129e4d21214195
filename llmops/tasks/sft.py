"""Defines the task sft: supervised fine-tuning on text, conversations or prompts with their completions.

Effects: loads trl and reads rows when a trainer is built.
"""

import importlib
from typing import Any

from llmops.plugins.training_task import TrainerInputs, TrainingTask

COLUMNS = {"text": ("text",), "messages": ("messages",), "prompt_completion": ("prompt", "completion")}
"""The columns that each format trains on; rows may have more."""
ARGUMENTS = ("packing", "assistant_only_loss", "completion_only_loss", "max_length")
"""Arguments of SFTConfig that TrainingArguments lacks."""


def trainer(inputs: TrainerInputs) -> Any:
    trl = importlib.import_module("trl")
    own = {name: getattr(inputs.training.arguments, name) for name in ARGUMENTS}
    return trl.SFTTrainer(
        inputs.causal_lm(),
        args=trl.SFTConfig(**inputs.arguments, **own, dataset_num_proc=None),
        train_dataset=inputs.dataset(COLUMNS[inputs.format]),
        processing_class=inputs.tokenizer,
        peft_config=inputs.lora("CAUSAL_LM"),
    )


TASK = TrainingTask(formats=tuple(COLUMNS), trainer=trainer)
