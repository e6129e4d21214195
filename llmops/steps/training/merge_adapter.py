"""Merges a LoRA adapter into its base, and checks on a probe that the output stays the same.

Effects: reads and writes model folders.
"""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmops.domain.orders import Input
from llmops.steps.context import StepContext, StepFailed

TOLERANCE = 1e-3
"""Largest difference of a logit between base with adapter and merged model, in float32."""
PROBE_TOKENS = 32


def merged(model: Input, context: StepContext) -> Path:
    base, adapter = context.folder_of(model, "base"), context.folder_of(model, "adapter")
    return context.once(lambda folder: merge(base, adapter, folder), "merged", model.outputs["adapter"])


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write base and adapter as one model with the base's tokenizer.

    Raises `StepFailed` if a logit of the written model differs from base with adapter by more than `TOLERANCE`.
    """
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()
    size = int(model.config.vocab_size)
    probe = torch.randint(size, (1, min(PROBE_TOKENS, size)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(probe).logits
        whole = model.merge_and_unload(safe_merge=True)
        whole.save_pretrained(out)
        after = AutoModelForCausalLM.from_pretrained(out).eval()(probe).logits
    difference = float((before - after).abs().max())
    if not difference <= TOLERANCE:
        raise StepFailed(
            f"merging {adapter.name} changed the model's output by {difference:.2g}, more than {TOLERANCE:g}."
        )
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
