"""Writes a random model of any size that reads ASCII: ``python -m benchmarks.tiny_model FOLDER HIDDEN LAYERS``.

Effects: writes a folder.
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "</s>"


def main(folder: str, hidden: int, layers: int) -> None:
    """Write the tokenizer, with a token for each character, and the weights."""
    signs = {chr(code): code - 32 for code in range(32, 127)} | {END: 95, "Ġ": 96}
    tokenizer = Tokenizer(models.BPE(signs, [], unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(signs),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        bos_token_id=signs[END],
        eos_token_id=signs[END],
        pad_token_id=signs[END],
    )
    LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
