"""Models of some ten thousand weights that learnt by heart what to say: a judge and a subject for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

END = "</s>"
SPOKEN = (
    "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)
"""A chat template that keeps what the user says, and so the model small."""


def parrot(folder: Path, says: Mapping[str, str]) -> Path:
    """Write a folder with a model that answers each of these with what was said, in ASCII, letter by letter."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = {chr(code): code - 33 for code in range(33, 127)} | {END: 94, "Ġ": 95}
    tokenizer = Tokenizer(models.BPE(letters, [], unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    fast.chat_template = SPOKEN
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    small = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=1024, bos_token_id=94, eos_token_id=94, pad_token_id=94,
    )  # fmt: skip
    model = LlamaForCausalLM(small)
    asked = [fast(f"{question}>")["input_ids"] for question in says]
    wanted = [[*fast(answer)["input_ids"], 94] for answer in says.values()]
    longest = max(len(a) + len(w) for a, w in zip(asked, wanted, strict=True))
    rows, labels = torch.full((len(says), longest), 94), torch.full((len(says), longest), -100)
    for number, (a, w) in enumerate(zip(asked, wanted, strict=True)):
        rows[number, : len(a) + len(w)] = torch.tensor(a + w)
        labels[number, len(a) : len(a) + len(w)] = torch.tensor(w)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(MOST_STEPS):
        optimizer.zero_grad()
        found = model(input_ids=rows, labels=labels)
        found.loss.backward()
        optimizer.step()
        if found.loss.item() < LEARNT:
            break
    model.save_pretrained(folder)
    return folder


MOST_STEPS, LEARNT = 1500, 0.02
