"""Trains a model on one worker, from the seed to the saved weights.

The seed is set before model and adapter are built: peft initialises adapters long before the Trainer sets its own seed.

Effects: reads rows and model folders, draws random weights, writes checkpoints and the result.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from llmops.domain.orders import Progress
from llmops.kinds.training import Lora, Training
from llmops.plugins.training_task import TrainerInputs, TrainingTask
from llmops.registry import PLUGINS
from llmops.steps import chat_templates
from llmops.steps.context import StepFailed, report
from llmops.steps.training.loop_config import LOSSES, LoopConfig, TrainRows

LOG_STEPS = 10


class Worker(Protocol):
    """One of the processes that train together."""

    is_first: bool
    """Whether this worker reports progress and writes the result."""

    def latest(self) -> AbstractContextManager[Path | None]:
        """Open the newest complete checkpoint; None if there is none."""

    def keep(self, step: int, folder: Path) -> None:
        """Keep a complete checkpoint. Every worker calls this; `folder` may be moved away."""


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
    mixture = read_rows(config.mixture, training.seed)
    return TrainerInputs(
        training=training,
        start=config.start,
        has_base=config.has_base,
        tokenizer=tokenizer,
        format=config.mixture[0].format,  # the kind's review requires one format for all
        rows=mixture,
        causal_lm=partial(causal_lm, config, training, tokenizer),
        lora=partial(lora, training),
        dataset=partial(to_dataset, mixture),
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


def read_rows(mixture: Iterable[TrainRows], seed: int) -> Iterator[dict[str, Any]]:
    """Yield each row as often as its weight says; the seed chooses the rows for the fraction of a weight."""
    for index, part in enumerate(mixture):
        with Path(part.rows).open("rb") as file:
            rows = [msgspec.json.decode(line) for line in file]
        whole, fraction = math.floor(part.weight), part.weight % 1
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + index)).tolist()
        chosen = sorted(order[: round(fraction * len(rows))])
        yield from (row for _ in range(whole) for row in rows)
        yield from (rows[number] for number in chosen)


def to_dataset(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Dataset:
    """Keep only the columns of the format. Raises `StepFailed` when no row is left."""
    kept = [{name: row[name] for name in columns} for row in rows]
    if not kept:
        raise StepFailed("the weights leave no row to train on. Give the datasets more rows or larger weights.")
    return Dataset.from_list(kept)


def causal_lm(config: LoopConfig, training: Training, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    dtype = torch.bfloat16 if training.arguments.bf16 else torch.float32
    if config.has_base:
        return AutoModelForCausalLM.from_pretrained(config.start, dtype=dtype)
    assert training.architecture is not None  # noqa: S101  the kind's check requires it
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    sizes = {"vocab_size": len(tokenizer), **ids}
    architecture = AutoConfig.for_model(training.architecture.model_type, **(training.architecture.config | sizes))
    return AutoModelForCausalLM.from_config(architecture, dtype=dtype)


def lora(training: Training, task_type: str) -> LoraConfig | None:
    if training.finetuning != "lora":
        return None
    options = training.lora or Lora()
    return LoraConfig(
        r=options.r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=list(options.target_modules) or "all-linear",
        modules_to_save=list(options.modules_to_save) or None,
        use_rslora=options.use_rslora,
        use_dora=options.use_dora,
        task_type=task_type,
    )


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
