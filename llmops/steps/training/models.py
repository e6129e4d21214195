"""Loads or creates the model to train, and its LoRA configuration.

Effects: reads model folders, draws random weights.
"""

from __future__ import annotations

import torch
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from llmops.kinds.training import Lora, Training
from llmops.steps.training.loop_config import LoopConfig


def causal_lm(config: LoopConfig, training: Training, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Load the base, or draw the weights of a new model for the tokenizer."""
    dtype = torch.bfloat16 if training.arguments.bf16 else torch.float32
    if config.has_base:
        return AutoModelForCausalLM.from_pretrained(config.start, dtype=dtype)
    assert training.architecture is not None  # noqa: S101  the kind's check requires it
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    sizes = {"vocab_size": len(tokenizer), **ids}
    architecture = AutoConfig.for_model(training.architecture.model_type, **(training.architecture.config | sizes))
    return AutoModelForCausalLM.from_config(architecture, dtype=dtype)


def lora(training: Training, task_type: str) -> LoraConfig | None:
    """Configure the adapter of a training; None when every weight is trained."""
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
