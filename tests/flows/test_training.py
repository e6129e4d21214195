"""Trainings of real models, small enough for two cores: the same bytes in process, on Ray, and after a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest
import yaml
from msgspec import Raw

from llmops.domain.orders import LOCK, Input, Job
from llmops.domain.problems import Exit
from llmops.domain.records import Outcome
from llmops.domain.resources import Key
from llmops.kinds.training import Tokenizer, Training
from llmops.ledger import ledger
from llmops.steps.training.loop_config import LoopConfig, TrainRows
from llmops.store import blobs
from tests.clusters import Cluster
from tests.conftest import ROOT
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.slow

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


def outcome(repo: Repo, name: str) -> Outcome:
    outcomes = [ledger.outcome(repo.ledger(), unit) for unit in ledger.units(repo.ledger())]
    (found,) = (one for one in outcomes if one and one.key.name == name)
    return found


def made(repo: Repo, name: str) -> dict[str, str]:
    """Digests of what a training left, without its log: a resumed one averages its losses over other steps."""
    return {name: digest for name, digest in outcome(repo, name).outputs.items() if name != "log"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The outputs of an undisturbed run, in which an import of Ray is an error."""
    blocked = tmp_path_factory.mktemp("blocked")
    (blocked / "ray").mkdir()
    (blocked / "ray" / "__init__.py").write_text("raise RuntimeError('one worker needs no Ray')\n")
    with classroom(tmp_path_factory.mktemp("whole"), school()) as repo:
        done = run(repo, "apply", path=f"{blocked}{os.pathsep}{ROOT}")
        assert done.returncode == Exit.WELL, done.stderr
        return {name: made(repo, name) for name in ("small", "adder")}


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

    ray_train._drop_cut_snapshot(tmp_path)

    assert snapshot.exists() == stays


@pytest.mark.parametrize(("name", "logged"), [("small", 1), ("adder", 3)])
def test_a_killed_training_resumes_from_its_checkpoint_and_ends_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, dict[str, str]], name: str, logged: int
) -> None:
    """Another repository, another store, kill -9 after the first checkpoint; a whole run logs that many losses."""
    with classroom(tmp_path, school()) as repo:
        folder = kill_after(f"training-{name}-*/scratch/checkpoints/[1-9]*", repo)
        log = folder / "log"
        before = log.read_text()

        again = run(repo, "apply")

        assert again.returncode == Exit.WELL, again.stderr
        assert {name: made(repo, name) for name in whole} == whole
        assert log.read_text().removeprefix(before).count("{'loss'") < logged, "it began anew instead of resuming"


def kill_after(pattern: str, repo: Repo, also: Callable[[Path], object] = bool) -> Path:
    """Kill an apply and its step at once after a path appears that meets a condition; return the order's folder."""
    command = [sys.executable, "-m", "llmops", "apply"]
    with (repo.folder.parent / "first").open("wb") as log:
        apply = subprocess.Popen(command, cwd=repo.folder, stdout=log, stderr=log)
    found = wait_for(lambda: next((path for path in work(repo).glob(pattern) if also(path)), None), apply)
    kill(apply.pid)
    apply.wait()
    folder = work(repo) / found.relative_to(work(repo)).parts[0]
    kill(step_of(folder))
    return folder


def work(repo: Repo) -> Path:
    return repo.workspace().work


def wait_for(look: Callable[[], Path | None], process: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + 240
    while (found := look()) is None:
        assert process.poll() is None, "apply ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def step_of(folder: Path) -> int:
    """Give the process that does an order."""
    return int((folder / LOCK).read_text().strip())


def kill(pid: int) -> None:
    """End a process at once; what it started (Ray's daemons) is to notice by itself."""
    psutil.Process(pid).send_signal(signal.SIGKILL)


def is_listed(checkpoint: Path) -> bool:
    """Whether Ray's list of checkpoints names this one: it is written in place, so a kill may cut it off."""
    snapshot = checkpoint.parent / "checkpoint_manager_snapshot.json"
    text = snapshot.read_text() if snapshot.exists() else ""
    return text.endswith("}") and checkpoint.name in text


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


def test_two_workers_give_the_same_bytes_after_a_kill_and_are_no_other_training(
    tmp_path: Path, whole: dict[str, dict[str, str]]
) -> None:
    pair = school(resources="{workers: 2}")
    del pair["specs/adder.yaml"]
    results = []
    for is_killed in (False, True):
        with classroom(tmp_path / str(is_killed), pair) as repo:
            if is_killed:
                folder = kill_after("training-small-*/scratch/ray/*/checkpoint_*", repo, is_listed)
            done = run(repo, "apply")
            assert done.returncode == Exit.WELL, done.stderr
            results.append((made(repo, "small"), ledger.units(repo.ledger())))

    assert results[0] == results[1]
    assert results[0][0].keys() == whole["small"].keys()
    last = (folder / "log").read_text().rpartition("Started training worker group")[2]
    # None are left where the kill came after the last checkpoint.
    assert last.count("Reporting training result") < 2 * 8 // 2, "it began anew instead of resuming"


def test_a_cluster_trains_it_as_a_job_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, dict[str, str]], cluster: Cluster
) -> None:
    runner = f"{{type: ray, address: '{cluster.address}', python: '{sys.executable}', work: '{tmp_path / 'shared'}'}}"
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{runner: {runner}}}\n"
    with classroom(tmp_path, school() | {"llmops.yaml": settings}) as repo:
        done = run(repo, "apply")

        assert done.returncode == Exit.WELL, done.stderr
        assert {name: made(repo, name) for name in whole} == whole, "Ray and the step's own process differ"
        assert "ray" in outcome(repo, "small").provenance.environment


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


def test_a_training_that_cannot_be_done_says_why(tmp_path: Path) -> None:
    files = school(arguments="{max_steps: 8, max_length: 4096}") | {"kb/corpus.txt": "Only a few words.\n"}
    del files["specs/adder.yaml"]
    with classroom(tmp_path, files) as repo:
        done = run(repo, "apply")

        assert done.returncode == Exit.FAULT
        assert re.search(
            "training failed on its workers: ValueError: the data has .* fewer than one block of max_length 4096",
            done.stderr,
        )
        assert "Training/small" in done.stderr
        assert ledger.state(repo.ledger()).intents == {}  # type: ignore[union-attr]


def test_a_dataset_without_a_train_side_is_named(tmp_path: Path) -> None:
    files = school()
    del files["specs/adder.yaml"]
    split = "format: text\nsources: [{path: kb/corpus.txt}]\nsplit: {test_fraction: 0.9999}"
    files["specs/data.yaml"] = spec("Dataset", "corpus", split)
    with classroom(tmp_path, files) as repo:
        done = run(repo, "apply")

    assert done.returncode == Exit.FAULT
    assert "the train side of Dataset/corpus is empty. Give it more rows or a smaller test_fraction." in done.stderr


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
    from llmops.steps.training import rows
    from llmops.tasks import sft

    dataset = rows.dataset(mixture(tmp_path, row, weight=2.0), sft.COLUMNS[format_])

    assert (dataset.column_names, len(dataset)) == (columns, 2)


def test_weights_that_leave_no_row_are_named(tmp_path: Path) -> None:
    from llmops.steps.context import StepFailed
    from llmops.steps.training import rows

    with pytest.raises(StepFailed, match="the weights leave no row"):
        rows.dataset(mixture(tmp_path, {"text": "a"}, weight=0.1), ("text",))


def mixture(folder: Path, row: dict[str, Any], weight: float) -> Iterator[dict[str, Any]]:
    from llmops.steps.training import rows

    file = folder / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    return rows.read([TrainRows(str(file), "text", weight)], seed=1)


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


def test_what_was_trained_is_a_folder_that_transformers_loads(whole: dict[str, dict[str, str]]) -> None:
    assert set(whole["small"]) == {"model"}
    assert set(whole["adder"]) == {"adapter", "base"}
    assert whole["adder"]["base"] == whole["small"]["model"]
