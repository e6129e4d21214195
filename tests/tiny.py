"""A model of a few thousand weights that knows nothing, and evaluations of it as a step is told to make them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from llmops.domain.orders import Input, Job, Previous
from llmops.domain.resources import Key
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.kinds.evaluation.sampling import SamplingBudget, job_options
from llmops.steps.context import JobFailure, JobOutput, StepFailed
from llmops.steps.redaction import Redaction
from llmops.store import blobs
from llmops.store.blobs import Store

END = "</s>"
TASK = """\
task: reading
output_type: {output}
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
{more}
metric_list: [{{metric: {metric}, aggregation: mean, higher_is_better: true}}]
"""
CHOICE = TASK.format(output="multiple_choice", metric="acc", more="doc_to_choice: [a, b, c]")
CHAT = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }} {% endfor %}{% if add_generation_prompt %}a:{% endif %}"


def model(
    folder: Path, seed: int = 0, *, hidden_size: int = 16, layers: int = 1, length: int = 256, **more: Any
) -> Path:
    """Write a folder with a model that was drawn at random; it reads and writes ASCII, letter by letter."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = {chr(code): code - 32 for code in range(32, 127)} | {END: 95, "Ġ": 96}
    tokenizer = Tokenizer(models.BPE(letters, [], unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    small = LlamaConfig(
        vocab_size=97, hidden_size=hidden_size, intermediate_size=2 * hidden_size, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=length,
        bos_token_id=95, eos_token_id=95, pad_token_id=95, **more,
    )  # fmt: skip
    LlamaForCausalLM(small).save_pretrained(folder)
    return folder


def files(folder: Path, name: str) -> dict[str, bytes]:
    """Return a model's files as a repository holds them in `models/NAME`."""
    return {f"models/{name}/{path.name}": path.read_bytes() for path in folder.iterdir()}


class Found(Struct, frozen=True):
    """What an evaluation wrote down of one suite."""

    items: tuple[Item, ...]
    facts: SuiteFacts
    metrics: dict[str, float]

    def scores(self, metric: str) -> list[float | None]:
        return [item.scores[metric] for item in self.items]


class Asked(Struct, frozen=True, kw_only=True):
    """One suite, and who is asked."""

    inputs: Mapping[str, Input]
    subject: Mapping[str, str]
    task: str
    rows: Sequence[Mapping[str, Any]]
    """None at all: the task has its own."""
    suite: Mapping[str, Any] = {}
    fields: Mapping[str, Any] = {}
    files: Mapping[str, str] = {}
    trial: int = 0
    budget: SamplingBudget | None = None
    previous: Previous | None = None


def of_model(kept: Store, at: Path) -> dict[str, Any]:
    """Make a model the subject of a job."""
    given = Input(key=Key("Model", at.name), body=Raw(b"{}"), outputs={"model": blobs.add_folder(kept, at)})
    return {"inputs": {"subject.model": given}, "subject": {"model": at.name}}


def job(kept: Store, folder: Path, number: int, asked: Asked) -> Job:
    """State one suite as an order does."""
    suite, inputs = {"task": "evals/task.yaml", **asked.suite}, dict(asked.inputs)
    if asked.rows:
        rows = folder / f"rows-{number}"
        rows.mkdir(parents=True)
        (rows / "train.jsonl").write_text("")
        (rows / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked.rows))
        suite["dataset"] = "rows"
        made = Input(key=Key("Dataset", "rows"), body=Raw(b"{}"), outputs={"rows": blobs.add_folder(kept, rows)})
        inputs["suites[0].dataset"] = made
    files = {"evals/task.yaml": asked.task, **asked.files}
    how = job_options(asked.trial, asked.budget)
    return Job(
        unit=f"{number:064x}",
        key=Key("Evaluation", "tiny"),
        field="suites",
        index=0,
        body=Raw(json.dumps({"subject": asked.subject, "suites": [suite], **asked.fields}).encode()),
        files={path: blobs.add_bytes(kept, text.encode()) for path, text in files.items()},
        inputs=inputs,
        options=how.options,
        incremental=how.incremental,
        previous=asked.previous,
    )


def evaluated(folder: Path, kept: Store, *asked: Asked) -> list[Found]:
    """Run suites in this process, as one order."""
    from llmops.steps.context import StepContext
    from llmops.steps.evaluation import evaluate

    work = folder / "work"
    work.mkdir(parents=True)
    jobs = tuple(job(kept, folder, number, one) for number, one in enumerate(asked))
    found = evaluate.run(jobs, StepContext(work, kept, cluster=False, redaction=Redaction()))
    made = {one.job.unit: one for one in all_made(found)}
    return [_found(kept, made[one.unit].outputs["evidence"], made[one.unit].metrics) for one in jobs]


def all_made(found: Iterable[JobOutput | JobFailure]) -> Iterator[JobOutput]:
    """Return what a step made. Raises `StepFailed` for the first job that came to nothing."""
    for one in list(found):
        if isinstance(one, JobFailure):
            raise StepFailed(one.why)
        yield one


def _found(kept: Store, digest: str, metrics: dict[str, float]) -> Found:
    files = blobs.manifest(kept, digest).files
    facts = msgspec.json.decode(blobs.read(kept, files[evidence.FACTS].sha256), type=SuiteFacts)
    return Found(evidence.decode(blobs.read(kept, files[evidence.ITEMS].sha256)), facts, metrics)
