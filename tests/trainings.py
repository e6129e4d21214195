"""Trainings of models that are small enough for two cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT
from tests.repos import Repo
from tests.trees import spec

ARCHITECTURE = (
    "{model_type: llama, config: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, "
    "num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 128, tie_word_embeddings: false}}"
)


CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}\n"
)


ROWS = [
    {"messages": [{"role": "user", "content": f"{a} and {b}?"}, {"role": "assistant", "content": f"{a + b}"}]}
    for a in range(8)
    for b in range(8)
]


def school(**changes: str) -> dict[str, str]:
    """Specs of a model that reads a little and then learns to add."""
    given = {"resources": "{workers: 1}", "arguments": "{max_steps: 8, per_device_train_batch_size: 4, max_length: 32}"}
    given |= changes
    pretrain = (
        f"task: pretrain\narchitecture: {ARCHITECTURE}\n"
        "tokenizer: {vocab_size: 300, special_tokens: ['<|user|>', '<|assistant|>'], chat_template: prompts/chat.jinja}\n"
        f"datasets: [{{name: corpus}}]\narguments: {given['arguments']}\nresources: {given['resources']}\n"
        "checkpoint: {save_steps: 2, keep: 2}"
    )
    sft = (
        "task: sft\nbase: small\ndatasets: [{name: sums, weight: 1.5}]\nfinetuning: lora\n"
        "lora: {r: 4, lora_dropout: 0.1, modules_to_save: [lm_head]}\n"
        "arguments: {max_steps: 24, per_device_train_batch_size: 4, max_length: 64, learning_rate: 1.0e-3, assistant_only_loss: true}\n"
        "checkpoint: {save_steps: 4, keep: 2}"
    )
    return {
        "prompts/chat.jinja": CHAT,
        "kb/corpus.txt": "The quick brown fox jumps over the lazy dog, and counts: 1 2 3 4 5 6 7 8 9.\n" * 200,
        "kb/sums.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
        "specs/data.yaml": spec("Dataset", "corpus", "format: text\nsources: [{path: kb/corpus.txt}]")
        + "---\n"
        + spec("Dataset", "sums", "format: messages\nsources: [{path: kb/sums.jsonl}]"),
        "specs/small.yaml": spec("Training", "small", pretrain),
        "specs/adder.yaml": spec("Training", "adder", sft),
    }


@contextmanager
def classroom(folder: Path, files: dict[str, str]) -> Iterator[Repo]:
    repo = Repo(folder)
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"
    repo.commit({"llmops.yaml": settings} | files, "a school")
    repo.git("push", "--quiet", "--set-upstream", "origin", "main")
    assert run(repo, "init").returncode == 0
    yield repo


def run(repo: Repo, *arguments: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmops", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=repo.folder, env=environment, capture_output=True, text=True, check=False)
