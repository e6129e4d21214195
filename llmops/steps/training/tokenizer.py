"""tokenizer: makes a tokenizer from the text that a model will be trained on.

Effects: reads rows, writes a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from tokenizers import Tokenizer as Raw
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from llmops.kinds.training import Tokenizer

PAD, BOS, EOS = "<pad>", "<s>", "</s>"


def make(recipe: Tokenizer, rows: list[Path], repository: Path, out: Path) -> None:
    """Train byte-level BPE on the column ``text`` of JSON-lines files and save it in transformers' form."""
    if (out / "tokenizer.json").exists():
        return
    raw = Raw(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=list(dict.fromkeys([PAD, BOS, EOS, *recipe.special_tokens])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_texts(rows), trainer)
    template = (repository / recipe.chat_template).read_text() if recipe.chat_template else None
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=PAD, bos_token=BOS, eos_token=EOS, chat_template=template
    )
    made.save_pretrained(out)


def _texts(rows: list[Path]) -> Iterator[str]:
    for path in rows:
        with path.open("rb") as file:
            for line in file:
                yield msgspec.json.decode(line)["text"]
