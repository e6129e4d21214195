"""backwards: a training task for tests, which learns text from its end to its beginning.

Effects: loads transformers when a trainer is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from llmops.domain.problems import FieldProblem
from llmops.plugins.training_task import TrainerInputs, TrainingTask


def check(training: Any) -> Iterable[FieldProblem]:
    if training.finetuning != "full":
        yield FieldProblem("finetuning", "backwards trains every weight.", "Set finetuning: full.")


def trainer(inputs: TrainerInputs) -> Any:
    transformers, datasets = importlib.import_module("transformers"), importlib.import_module("datasets")
    length = inputs.training.arguments.max_length
    ids = [inputs.tokenizer(row["text"])["input_ids"][::-1][:length] for row in inputs.rows]
    return transformers.Trainer(
        transformers.AutoModelForCausalLM.from_pretrained(inputs.start),
        transformers.TrainingArguments(**inputs.arguments),
        train_dataset=datasets.Dataset.from_dict({"input_ids": ids}),
        data_collator=transformers.DataCollatorForLanguageModeling(inputs.tokenizer, mlm=False),
    )


TASK = TrainingTask(formats=("text",), trainer=trainer, check=check)
