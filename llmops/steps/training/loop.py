"""Trains a model on one worker, from the seed to the saved weights.

The seed is set before model and adapter are built: peft initialises adapters long before the Trainer sets its own seed.

Effects: reads rows and model folders, writes checkpoints and the result.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments, set_seed

from llmops.domain.orders import Progress
from llmops.kinds.training import Training
from llmops.plugins.training_task import TrainerInputs, TrainingTask
from llmops.registry import PLUGINS
from llmops.steps import chat_templates
from llmops.steps.context import report
from llmops.steps.training import models, rows
from llmops.steps.training.loop_config import LOSSES, LoopConfig
from llmops.steps.training.worker import Worker

LOG_STEPS = 10


def run(config: LoopConfig, worker: Worker) -> None:
    """Train on one worker. Every worker builds the same model from the same seed; the first one saves the result."""
    chat_templates.install()
    training = msgspec.json.decode(config.training, type=Training)
    task: TrainingTask = PLUGINS.choice("tasks", training.task)
    torch.set_num_threads(max(1, int(training.resources.cpus)))
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(config.start)
    trainer = task.trainer(_inputs(config, training, tokenizer))
    trainer.add_callback(_Reporter(config, worker))
    with worker.latest() as checkpoint:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if worker.is_first:
        _save(trainer, tokenizer, config, training)


def _inputs(config: LoopConfig, training: Training, tokenizer: PreTrainedTokenizerBase) -> TrainerInputs:
    mixture = rows.read(config.mixture, training.seed)
    return TrainerInputs(
        training=training,
        start=config.start,
        has_base=config.has_base,
        tokenizer=tokenizer,
        format=config.mixture[0].format,  # the kind's review requires one format for all
        rows=mixture,
        causal_lm=partial(models.causal_lm, config, training, tokenizer),
        lora=partial(models.lora, training),
        dataset=partial(rows.dataset, mixture),
        arguments=_arguments(config, training),
    )


def _arguments(config: LoopConfig, training: Training) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    arguments = msgspec.to_builtins(training.arguments)
    batch, accumulation = share(training)
    return {name: value for name, value in arguments.items() if name in names} | {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "output_dir": str(Path(config.order) / "scratch" / "trainer"),
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
    """Compute batch size and accumulation of a worker, so that a step has as many rows as with one worker."""
    batch = training.arguments.per_device_train_batch_size
    rows_of_step = batch * training.arguments.gradient_accumulation_steps // training.resources.workers
    accumulation = next(n for n in range(1, rows_of_step + 1) if rows_of_step % n == 0 and rows_of_step // n <= batch)
    return rows_of_step // accumulation, accumulation


def _save(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, config: LoopConfig, training: Training) -> None:
    out = Path(config.out)
    model = trainer.accelerator.unwrap_model(trainer.model)
    folder = out / ("adapter" if training.finetuning == "lora" else "model")
    model.save_pretrained(folder)
    if training.finetuning == "full":
        tokenizer.save_pretrained(folder)
    else:
        _normalise_adapter(folder)
    log = out / "log"
    log.mkdir(exist_ok=True)
    losses = [entry for entry in trainer.state.log_history if "loss" in entry]
    lines = [json.dumps({"step": entry["step"], "loss": float(entry["loss"])}) for entry in losses]
    (log / LOSSES).write_text("\n".join(lines) + "\n")


def _normalise_adapter(folder: Path) -> None:
    """Make the bytes of an adapter reproducible: no path of this machine, sorted sets, no empty model card."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = None
    sets = {name: sorted(value) for name, value in config.items() if isinstance(value, list)}
    path.write_text(json.dumps(config | sets, indent=2, sort_keys=True) + "\n")


class _Reporter(TrainerCallback):
    """Reports progress, and hands checkpoints to the worker."""

    def __init__(self, config: LoopConfig, worker: Worker) -> None:
        self._order = Path(config.order)
        self._worker = worker

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        if self._worker.is_first and logs and "loss" in logs:
            report(self._order, Progress(f"loss {float(logs['loss']):.3f}", state.global_step, state.max_steps))

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save no checkpoint of the last step: the result follows, and a Trainer resumed from it adds a step."""
        if state.global_step >= state.max_steps:
            control.should_save = False

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._worker.keep(state.global_step, Path(args.output_dir) / f"checkpoint-{state.global_step}")
