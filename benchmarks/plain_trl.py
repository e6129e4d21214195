"""``python -m benchmarks.plain_trl MODEL ROWS OUT``: the demo's fine-tune as a plain script of trl.

The arguments are those of demo/system/specs/training.yaml. The rows are handed over in memory: a dataset that is loaded
by name writes a cache first, which takes longer.

Effects: reads a model and rows, writes checkpoints and the adapter, prints losses.
"""

import json
import sys
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer


def main(model: str, rows: str, out: str) -> None:
    set_seed(42)
    with Path(rows).open() as file:
        messages = [{"messages": json.loads(line)["messages"]} for line in file]
    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        args=SFTConfig(
            output_dir=f"{out}/checkpoints",
            max_steps=260,
            per_device_train_batch_size=8,
            max_length=160,
            learning_rate=2e-3,
            warmup_steps=20,
            train_sampling_strategy="group_by_length",
            optim="adamw_torch",
            assistant_only_loss=True,
            bf16=False,
            gradient_checkpointing=False,
            logging_steps=10,
            logging_first_step=True,
            save_steps=50,
            save_total_limit=2,
            seed=42,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(messages),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=16,
            lora_alpha=32,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            modules_to_save=["embed_tokens", "lm_head"],
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    trainer.save_model(f"{out}/adapter")


if __name__ == "__main__":
    main(*sys.argv[1:])
