"""train_loop: what every training worker does, from the seed to the saved weights.

The seed is set before model and adapter are built: peft initialises adapters long before the Trainer sets its own seed.

Effects: reads rows and model folders, writes checkpoints and the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import ray.train
import torch
from datasets import Dataset
from peft import LoraConfig
from ray.train import Checkpoint
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from llmops.domain.orders import Progress
from llmops.kinds.training import Lora, Training
from llmops.steps.context import StepFailed, say
from llmops.steps.training.loop_config import LOSSES, Recipe

LOG_STEPS = 10
COLUMNS = {"text": ("text",), "messages": ("messages",), "prompt_completion": ("prompt", "completion")}
"""What is trained on, by the format of the datasets; rows may hold more."""
ONLY_SFT = ("packing", "assistant_only_loss", "completion_only_loss", "max_length")


def loop(config: dict[str, Any]) -> None:
    """Train on one worker. Every worker builds the same model from the same seed; rank 0 saves."""
    recipe = msgspec.convert(config, Recipe)
    training = msgspec.json.decode(recipe.training, type=Training)
    context = ray.train.get_context()
    torch.set_num_threads(max(1, int(training.resources.cpus)))
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(recipe.start)
    model = _model(recipe, training, tokenizer)
    make = _pretrainer if training.task == "pretrain" else _finetuner
    trainer = make(model, tokenizer, recipe, training)
    trainer.add_callback(_Reporter(recipe, is_first=context.get_world_rank() == 0))
    found = ray.train.get_checkpoint()
    if found is None:
        trainer.train()
    else:
        with found.as_directory() as folder:
            trainer.train(resume_from_checkpoint=folder)
    if context.get_world_rank() == 0:
        _save(trainer, tokenizer, recipe, training)


def _model(recipe: Recipe, training: Training, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    dtype = torch.bfloat16 if training.arguments.bf16 else torch.float32
    if not recipe.scratch:
        return AutoModelForCausalLM.from_pretrained(recipe.start, dtype=dtype)
    assert training.architecture is not None  # noqa: S101  the kind's check asks for it
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    sizes = {"vocab_size": len(tokenizer), **ids}
    config = AutoConfig.for_model(training.architecture.model_type, **(training.architecture.config | sizes))
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def _pretrainer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, training: Training
) -> Trainer:
    length = training.arguments.max_length
    ids: list[int] = []
    for row in _rows(recipe, training.seed):
        ids += [*tokenizer(row["text"], verbose=False)["input_ids"], tokenizer.eos_token_id]
    blocks = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    if not blocks:
        raise ValueError(f"the data has {len(ids)} tokens, less than one block of max_length {length}")
    return Trainer(
        model,
        TrainingArguments(**_arguments(recipe, training)),
        train_dataset=Dataset.from_dict({"input_ids": blocks, "labels": blocks}),
        data_collator=default_data_collator,
    )


def _finetuner(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, training: Training
) -> Trainer:
    special = {name: getattr(training.arguments, name) for name in ONLY_SFT}
    return SFTTrainer(
        model,
        args=SFTConfig(**_arguments(recipe, training), **special, dataset_num_proc=None),
        train_dataset=examples(recipe, training.seed),
        processing_class=tokenizer,
        peft_config=_lora(training.lora or Lora()) if training.finetuning == "lora" else None,
    )


def examples(recipe: Recipe, seed: int) -> Dataset:
    """Give the rows of the mixture with the columns of its format; the kind sees to it that there is only one."""
    columns = COLUMNS[recipe.mixture[0].format]
    rows = [{name: row[name] for name in columns} for row in _rows(recipe, seed)]
    if not rows:
        raise StepFailed("the weights leave no row to train on. Give the datasets more rows or larger weights.")
    return Dataset.from_list(rows)


def _lora(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=list(lora.target_modules) or "all-linear",
        modules_to_save=list(lora.modules_to_save) or None,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        task_type="CAUSAL_LM",
    )


def _arguments(recipe: Recipe, training: Training) -> dict[str, Any]:
    """Give the arguments that transformers and trl share."""
    given = msgspec.to_builtins(training.arguments)
    shared = {name: value for name, value in given.items() if name not in ONLY_SFT}
    batch, accumulate = share(training)
    return shared | {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulate,
        "output_dir": str(Path(recipe.context) / "scratch" / "trainer"),
        "seed": training.seed,
        "use_cpu": training.resources.gpus == 0,
        "save_strategy": "steps",
        "save_steps": training.checkpoint.save_steps,
        "save_total_limit": 1,
        "logging_steps": LOG_STEPS,
        "logging_first_step": True,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": training.resources.gpus > 0,
    }


def share(training: Training) -> tuple[int, int]:
    """Give batch size and accumulation of one worker, so that a step sees as many rows as with one worker."""
    batch = training.arguments.per_device_train_batch_size
    rows = batch * training.arguments.gradient_accumulation_steps // training.resources.workers
    accumulate = next(n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= batch)
    return rows // accumulate, accumulate


def _rows(recipe: Recipe, seed: int) -> Iterator[dict[str, Any]]:
    """Give the rows of the mixture: each as often as its weight says, a fraction of them chosen by the seed."""
    for index, one in enumerate(recipe.mixture):
        with Path(one.rows).open("rb") as file:
            rows = [json.loads(line) for line in file]
        whole, part = math.floor(one.weight), one.weight % 1
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + index)).tolist()
        few = sorted(chosen[: round(part * len(rows))])
        yield from (row for _ in range(whole) for row in rows)
        yield from (rows[number] for number in few)


def _save(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, training: Training) -> None:
    out = Path(recipe.out)
    model = trainer.accelerator.unwrap_model(trainer.model)
    folder = out / ("adapter" if training.finetuning == "lora" else "model")
    model.save_pretrained(folder)
    if training.finetuning == "full":
        tokenizer.save_pretrained(folder)
    else:
        _tidy_adapter(folder)
    log = out / "log"
    log.mkdir(exist_ok=True)
    losses = [entry for entry in trainer.state.log_history if "loss" in entry]
    lines = [json.dumps({"step": one["step"], "loss": float(one["loss"])}) for one in losses]
    (log / LOSSES).write_text("\n".join(lines) + "\n")


def _tidy_adapter(folder: Path) -> None:
    """Make the same adapter the same bytes: no path of this machine, no order of a set, no card full of blanks."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = None
    sets = {name: sorted(value) for name, value in config.items() if isinstance(value, list)}
    path.write_text(json.dumps(config | sets, indent=2, sort_keys=True) + "\n")


class _Reporter(TrainerCallback):
    """Hands checkpoints to Ray and tells the desk how far the training is."""

    def __init__(self, recipe: Recipe, *, is_first: bool) -> None:
        self._folder = Path(recipe.context)
        self._is_first = is_first

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        if self._is_first and logs and "loss" in logs:
            say(self._folder, Progress(f"loss {float(logs['loss']):.3f}", state.global_step, state.max_steps))

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        checkpoint = Checkpoint.from_directory(folder) if self._is_first else None
        ray.train.report({"step": state.global_step}, checkpoint=checkpoint)
