"""Serves models with `transformers serve`, an engine that needs no GPU and no conversion.

Checked against transformers 5.23.0. With continuous batching, its first request fixes the sampling parameters of all
later ones (a limit of that version), so the runtime sends a first request with those of the prompt.

Effects: reads the installed version.
"""

from __future__ import annotations

import importlib.metadata
import sys
from types import MappingProxyType
from typing import Annotated, Literal

from llmops.domain.resources import Scope
from llmops.plugins.engine import Command, Replica
from llmops.plugins.fields import Body, about
from llmops.plugins.kind import Step


class Config(Body, frozen=True, kw_only=True):
    """Options of `transformers serve`, by the names of its flags."""

    continuous_batching: Annotated[bool, about("Answer several requests at once from a paged KV cache.")] = True
    cb_num_blocks: Annotated[int, about("Blocks of the KV cache; together with the block size its memory.", ge=1)] = 64
    cb_block_size: Annotated[int, about("Tokens in a block.", ge=1)] = 32
    cb_max_batch_tokens: Annotated[int, about("Most tokens computed at once.", ge=1)] = 512
    device: Annotated[str, about("cpu, cuda or auto.", pattern="^(auto|cpu|cuda(:[0-9]+)?|mps)$")] = "cpu"
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], about("Number format of the weights.")] = "auto"
    attn_implementation: Annotated[
        Literal["sdpa", "eager", "flash_attention_2"], about("How attention is computed.")
    ] = "sdpa"
    threads: Annotated[int, about("CPU threads of a replica.", ge=1, scope=Scope.NONE)] = 1


FIELDS = frozenset(
    "model messages prompt stream temperature top_p max_tokens max_completion_tokens stop seed frequency_penalty "
    "logit_bias tools suffix chat_template_kwargs".split()
)
FIXED = frozenset(("temperature", "top_p", "stop", "seed", "frequency_penalty", "logit_bias"))


class Transformers:
    """`transformers serve MODEL`, one process per replica."""

    config = Config
    decides = MappingProxyType({"checkpoint": "merged"})
    prepare = Step(name="prepare", version=1, run="llmops.steps.prepare")
    remote = False
    versions = ("5.23.0",)

    def installed(self) -> str:
        try:
            return importlib.metadata.version("transformers")
        except importlib.metadata.PackageNotFoundError:
            return ""

    def command(self, config: Config, replica: Replica) -> Command:
        """Name the model by a relative path: transformers reads an '@' in a path as a revision."""
        flags = [f"--host={replica.host}", f"--port={replica.port}", f"--device={config.device}"]
        flags += [f"--dtype={config.dtype}", f"--attn-implementation={config.attn_implementation}"]
        if config.continuous_batching:
            flags += [
                "--continuous-batching",
                f"--cb-num-blocks={config.cb_num_blocks}",
                f"--cb-block-size={config.cb_block_size}",
                f"--cb-max-batch-tokens={config.cb_max_batch_tokens}",
            ]
        return Command(
            argv=(sys.executable, "-m", "transformers.cli.transformers", "serve", replica.model.name, *flags),
            environment={
                "OMP_NUM_THREADS": str(config.threads),
                "HF_HUB_OFFLINE": "1",
                "HF_HUB_DISABLE_UPDATE_CHECK": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "TOKENIZERS_PARALLELISM": "false",
            },
            model=replica.model.name,
            reports=f"{replica.model.name}@main",
            fields=FIELDS,
            fixed=FIXED if config.continuous_batching else frozenset(),
        )


ENGINE = Transformers()
