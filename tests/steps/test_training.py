"""The step of a training, in this process: checkpoints, rows, workers and adapters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import Raw

from llmops.domain.orders import Input, Job
from llmops.domain.resources import Key
from llmops.kinds.training import Tokenizer, Training
from llmops.steps.training.loop_config import LoopConfig, TrainRows
from llmops.store import blobs
from tests.trainings import ARCHITECTURE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("text", "stays"), [("", False), ('{"checkpoint_re', False), ("{}", True), (None, False)])
def test_a_list_of_checkpoints_that_a_kill_cut_off_stops_no_training(
    text: str | None,
    stays: bool,  # noqa: FBT001  what is expected
    tmp_path: Path,
) -> None:
    from llmops.steps.training import ray_train

    snapshot = tmp_path / ray_train.SNAPSHOT
    if text is not None:
        snapshot.write_text(text)

    ray_train.drop_cut_snapshot(tmp_path)

    assert snapshot.exists() == stays


@pytest.mark.filterwarnings("ignore::FutureWarning")  # gradient_checkpointing has another name in transformers 6
def test_a_training_resumed_from_any_of_its_checkpoints_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Also where the last step is not the last of an epoch."""
    from llmops.steps.training import loop, tokenizer
    from llmops.steps.training.in_process import InProcess

    text = tmp_path / "rows.jsonl"
    text.write_text(
        "".join(json.dumps({"text": f"{a} and {b} are {a + b}."}) + "\n" for a in range(9) for b in range(9))
    )
    tokenizer.train(Tokenizer(vocab_size=300), [text], tmp_path, tmp_path / "tokenizer")
    body = yaml.safe_load(
        f"{{task: pretrain, architecture: {ARCHITECTURE}, datasets: [{{name: d}}], checkpoint: {{save_steps: 2}}, "
        "arguments: {max_steps: 5, per_device_train_batch_size: 4, max_length: 32}}"
    )
    config = LoopConfig(
        training=msgspec.json.encode(body).decode(), start=str(tmp_path / "tokenizer"), has_base=False,
        mixture=(TrainRows(str(text), "text", 1.0),), out=str(tmp_path / "out"), order=str(tmp_path / "order"),
    )  # fmt: skip
    (tmp_path / "order").mkdir()
    kept = tmp_path / "kept"
    kept.mkdir()

    loop.run(config, InProcess(kept, keep=9))
    weights = (tmp_path / "out" / "model" / "model.safetensors").read_bytes()

    assert sorted(path.name for path in kept.iterdir()) == ["2", "4"]
    for step in ("2", "4"):
        (tmp_path / step).mkdir()
        shutil.move(kept / step, tmp_path / step / step)
        loop.run(config, InProcess(tmp_path / step, keep=9))
        assert (tmp_path / "out" / "model" / "model.safetensors").read_bytes() == weights


def test_a_folder_that_a_kill_left_half_built_is_built_again(tmp_path: Path) -> None:
    from llmops.steps.context import StepContext
    from llmops.steps.redaction import Redaction

    def build(folder: Path) -> None:
        (folder / "config.json").touch()
        if is_killed:
            raise KeyboardInterrupt
        (folder / "model.safetensors").touch()

    context = StepContext(tmp_path, blobs.open_at(tmp_path.as_uri()), cluster=False, redaction=Redaction())
    is_killed = True
    with pytest.raises(KeyboardInterrupt):
        context.once(build, "merged", "digest")
    is_killed = False

    folder = context.once(build, "merged", "digest")

    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_second_try_leaves_stored_results_of_the_first_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store links the files of a result, so the next process of the order must not write into them."""
    from llmops.steps.context import StepContext
    from llmops.steps.redaction import Redaction
    from llmops.steps.training import train

    tries = iter((1, 2))

    def save(config: LoopConfig, *_: object) -> None:
        loss = next(tries)
        for file in ("model/model.safetensors", "log/loss.jsonl"):
            (Path(config.out) / file).parent.mkdir(exist_ok=True)
            (Path(config.out) / file).write_text(f'{{"step": 8, "loss": {loss}}}')

    monkeypatch.setattr(train, "_workers", lambda *_: SimpleNamespace(train=save, PACKAGES=()))
    store = blobs.open_at((tmp_path / "store").as_uri())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.jsonl").write_text('{"text": "a"}')
    folder = blobs.add_folder(store, tmp_path / "folder")
    job = Job(
        unit="0" * 64, key=Key("Training", "t"),
        body=Raw(b'{"task": "pretrain", "base": "b", "datasets": [{"name": "d"}]}'),
        inputs={
            "base": Input(key=Key("Model", "b"), body=Raw(b"{}"), outputs={"model": folder}),
            "datasets[0].name": Input(
                key=Key("Dataset", "d"), body=Raw(b'{"format": "text", "sources": [{"path": "a"}]}'), outputs={"rows": folder}
            ),
        },
    )  # fmt: skip
    (tmp_path / "order").mkdir()
    context = StepContext(tmp_path / "order", store, cluster=False, redaction=Redaction())

    results = [product.outputs for _ in range(2) for product in train.run((job,), context)]

    for number, outputs in enumerate(results):
        for name, digest in outputs.items():
            blobs.materialise(
                store, digest, tmp_path / f"{number}-{name}"
            )  # raises for bytes that are not their digest's
    assert (tmp_path / "0-log" / "loss.jsonl").read_text() == '{"step": 8, "loss": 1}'


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers for a name that it renames
def test_the_merged_model_says_what_base_and_adapter_say(tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from llmops.steps.training.merge_adapter import merge

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    _tokenizer(PreTrainedTokenizerFast).save_pretrained(tmp_path / "base")
    adapted = get_peft_model(
        LlamaForCausalLM.from_pretrained(tmp_path / "base"),
        LoraConfig(r=4, modules_to_save=["lm_head"], init_lora_weights=False),
    )
    adapted.save_pretrained(tmp_path / "adapter")

    merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")

    ids = torch.arange(10)[None]
    whole = LlamaForCausalLM.from_pretrained(tmp_path / "out").eval()(ids).logits
    parts = (
        PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
        .eval()(ids)
        .logits
    )
    plain = LlamaForCausalLM.from_pretrained(tmp_path / "base").eval()(ids).logits
    assert torch.allclose(whole, parts, atol=1e-4)
    assert not torch.allclose(whole, plain, atol=1e-2)


def _tokenizer(kind: type) -> object:
    from tokenizers import Tokenizer, models

    return kind(tokenizer_object=Tokenizer(models.BPE(vocab={"a": 0}, merges=[])))


@pytest.mark.parametrize(
    ("format_", "row", "columns"),
    [
        ("messages", {"text": "a", "prompt": "b", "messages": [{"role": "user", "content": "a"}]}, ["messages"]),
        ("prompt_completion", {"text": "a", "prompt": "b", "completion": "c"}, ["prompt", "completion"]),
        ("text", {"text": "a", "messages": "b"}, ["text"]),
    ],
)
def test_the_columns_that_a_task_trains_on_are_those_of_the_format(
    tmp_path: Path, format_: str, row: dict[str, Any], columns: list[str]
) -> None:
    from llmops.steps.training import loop
    from llmops.tasks import sft

    dataset = loop.to_dataset(mixture(tmp_path, row, weight=2.0), sft.COLUMNS[format_])

    assert (dataset.column_names, len(dataset)) == (columns, 2)


def test_weights_that_leave_no_row_are_named(tmp_path: Path) -> None:
    from llmops.steps.context import StepFailed
    from llmops.steps.training import loop

    with pytest.raises(StepFailed, match="the weights leave no row"):
        loop.to_dataset(mixture(tmp_path, {"text": "a"}, weight=0.1), ("text",))


def mixture(folder: Path, row: dict[str, Any], weight: float) -> Iterator[dict[str, Any]]:
    from llmops.steps.training import loop

    file = folder / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    return loop.read_rows([TrainRows(str(file), "text", weight)], seed=1)


@pytest.mark.parametrize(
    ("batch", "accumulate", "workers", "expected"),
    [(8, 1, 1, (8, 1)), (8, 1, 2, (4, 1)), (8, 2, 2, (8, 1)), (8, 2, 4, (4, 1)), (8, 4, 2, (8, 2)), (3, 2, 2, (3, 1))],
)
def test_workers_share_the_rows_of_a_step(batch: int, accumulate: int, workers: int, expected: tuple[int, int]) -> None:
    from llmops.steps.training.loop import share

    arguments = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulate}
    body = {"task": "pretrain", "datasets": [{"name": "d"}], "arguments": arguments, "resources": {"workers": workers}}

    found = share(msgspec.convert(body, Training))

    assert found == expected
    assert found[0] * found[1] * workers == batch * accumulate
