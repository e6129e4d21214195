"""Trains a tokenizer on the text that a model will be trained on.

Effects: reads rows, writes a folder.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from tokenizers import Tokenizer as BpeTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from llmops.kinds.training import Tokenizer

PAD, BOS, EOS = "<pad>", "<s>", "</s>"


def train(spec: Tokenizer, rows: list[Path], repository: Path, out: Path) -> None:
    """Train byte-level BPE on the column ``text`` of JSON-lines files, and save it for transformers.

    The chat template is a path in `repository`.
    """
    bpe = BpeTokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
        special_tokens=list(dict.fromkeys([PAD, BOS, EOS, *spec.special_tokens])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(rows), trainer)
    template = (repository / spec.chat_template).read_text() if spec.chat_template else None
    PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, bos_token=BOS, eos_token=EOS, chat_template=template
    ).save_pretrained(out)


def _texts(rows: list[Path]) -> Iterator[str]:
    for path in rows:
        with path.open("rb") as file:
            for line in file:
                yield msgspec.json.decode(line)["text"]
