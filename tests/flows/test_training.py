"""Trainings on a real Ray, with real models, small enough for two cores: same bytes again, after a kill, on a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from llmops.domain.orders import LOCK
from llmops.domain.problems import Exit
from llmops.kinds.dataset import Format
from llmops.kinds.training import Training
from llmops.ledger import ledger
from llmops.steps.training.loop_config import Mixture, Recipe
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
        f"datasets: [{{name: corpus}}]\narguments: {given['arguments']}\nresources: {given['resources']}"
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


def run(repo: Repo, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmops", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=repo.folder, env=environment, capture_output=True, text=True, check=False)


def made(repo: Repo, name: str) -> dict[str, str]:
    """Digests of what a training left, without its log: a resumed one averages its losses over other steps."""
    units = ledger.units(repo.ledger())
    found = [one for unit in units if (one := ledger.outcome(repo.ledger(), unit)) and one.key.name == name]
    assert len(found) == 1, [str(one.key) for one in found]
    return {name: digest for name, digest in found[0].outputs.items() if name != "log"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What an undisturbed run makes."""
    with classroom(tmp_path_factory.mktemp("whole"), school()) as repo:
        done = run(repo, "apply")
        assert done.returncode == Exit.WELL, done.stderr
        return {name: made(repo, name) for name in ("small", "adder")}


def listed(checkpoint: Path) -> Path | None:
    """Give Ray's list of checkpoints once this one is on it: it is written in place, so a kill may cut it off."""
    snapshot = checkpoint.parent / "checkpoint_manager_snapshot.json"
    text = snapshot.read_text() if snapshot.exists() else ""
    return snapshot if text.endswith("}") and checkpoint.name in text else None


@pytest.mark.parametrize(("text", "stays"), [("", False), ('{"checkpoint_re', False), ("{}", True), (None, False)])
def test_a_list_of_checkpoints_that_a_kill_cut_off_stops_no_training(
    text: str | None,
    stays: bool,  # noqa: FBT001  what is expected
    tmp_path: Path,
) -> None:
    from llmops.steps.training import train

    snapshot = tmp_path / train.SNAPSHOT
    if text is not None:
        snapshot.write_text(text)

    train._mend(tmp_path)

    assert snapshot.exists() == stays


def test_a_killed_training_goes_on_where_it_was_and_ends_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, dict[str, str]]
) -> None:
    """Another repository, another store, kill -9 after the first checkpoint of the second training."""
    with classroom(tmp_path, school()) as repo:
        command = [sys.executable, "-m", "llmops", "apply"]
        with (tmp_path / "first").open("wb") as log:
            apply = subprocess.Popen(command, cwd=repo.folder, stdout=log, stderr=log)
        folder = wait_for(lambda: next(iter(work(repo).glob("training-adder-*/ray/*/checkpoint_*")), None), apply)
        wait_for(lambda: listed(folder), apply)
        kill(apply.pid)
        apply.wait()
        kill(step_of(folder.parents[2]))

        again = run(repo, "apply")

        assert again.returncode == Exit.WELL, again.stderr
        assert {name: made(repo, name) for name in whole} == whole
        log_text = (work(repo) / folder.parents[2].name / "log").read_text()
        last = log_text.rpartition("Started training worker group")[2]
        # None are left where the kill came after the last checkpoint.
        assert last.count("Reporting training result") < 24 // 4, "it began anew instead of going on"


def work(repo: Repo) -> Path:
    return repo.workspace().work


def wait_for(look: Callable[[], Path | None], process: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + 240
    while (found := look()) is None:
        assert process.poll() is None, "apply ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def step_of(folder: Path) -> int:
    """Give the process that does an order."""
    return int((folder / LOCK).read_text().strip())


def kill(pid: int) -> None:
    """End a process at once; what it started (Ray's daemons) is to notice by itself."""
    psutil.Process(pid).send_signal(signal.SIGKILL)


def test_two_workers_give_the_same_bytes_every_time_and_are_no_other_training(
    tmp_path: Path, whole: dict[str, dict[str, str]]
) -> None:
    pair = school(resources="{workers: 2}")
    del pair["specs/adder.yaml"]
    results = []
    for number in range(2):
        with classroom(tmp_path / str(number), pair) as repo:
            done = run(repo, "apply")
            assert done.returncode == Exit.WELL, done.stderr
            results.append((made(repo, "small"), ledger.units(repo.ledger())))

    assert results[0] == results[1]
    assert results[0][0].keys() == whole["small"].keys()


def test_a_cluster_trains_it_as_a_job_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, dict[str, str]], cluster: Cluster
) -> None:
    runner = f"{{type: ray, address: '{cluster.address}', python: '{sys.executable}', work: '{tmp_path / 'shared'}'}}"
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{runner: {runner}}}\n"
    with classroom(tmp_path, school() | {"llmops.yaml": settings}) as repo:
        done = run(repo, "apply")

        assert done.returncode == Exit.WELL, done.stderr
        assert {name: made(repo, name) for name in whole} == whole


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
        assert "less than one block of max_length 4096" in done.stderr
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
def test_what_is_trained_on_is_what_the_format_says(
    tmp_path: Path, format_: Format, row: dict[str, Any], columns: list[str]
) -> None:
    from llmops.steps.training.loop import examples

    found = examples(recipe(tmp_path, format_, row, weight=2.0), seed=1)

    assert (found.column_names, len(found)) == (columns, 2)


def test_weights_that_leave_no_row_are_named(tmp_path: Path) -> None:
    from llmops.steps.context import StepFailed
    from llmops.steps.training.loop import examples

    with pytest.raises(StepFailed, match="the weights leave no row"):
        examples(recipe(tmp_path, "text", {"text": "a"}, weight=0.1), seed=1)


def recipe(folder: Path, format_: Format, row: dict[str, Any], weight: float) -> Recipe:
    rows = folder / "rows.jsonl"
    rows.write_text(json.dumps(row) + "\n")
    mixture = (Mixture(str(rows), format_, weight),)
    return Recipe(training="", start="", scratch=False, mixture=mixture, out="", context="")


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
