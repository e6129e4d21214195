"""Gates that ask in batches and stop when they have seen enough: real lm-eval over models that know one letter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmops.domain import orders
from llmops.domain.problems import Exit
from llmops.environments.workspaces import open_store
from llmops.execution import evidence
from llmops.execution.evidence import Item
from llmops.host import file_locks
from llmops.ledger import ledger
from llmops.statistics import betting
from llmops.store import blobs
from tests import tiny
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec
from tests.waiting import wait_for_order, wait_for_results

pytestmark = pytest.mark.slow

ITEMS = 400
TASK = """\
task: letters
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [a, b, c]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
ROWS = "".join(json.dumps({"question": f"Item {number}?", "answer": "a"}) + "\n" for number in range(ITEMS))
EVALUATION = """
subject: {model: speaker}
batch_size: 64
suites:
  - {task: evals/letters.yaml, dataset: rows, sequential: true, gate: {%s}}
"""


@cache
def speaker(letter: str) -> dict[str, bytes]:
    """Return the files of a model of a few thousand weights that thinks one letter the likeliest, whatever it reads."""
    import torch
    from transformers import LlamaForCausalLM

    with tempfile.TemporaryDirectory() as name:
        folder = tiny.model(Path(name), mlp_bias=True)
        model = LlamaForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.bias[0] = 100.0
            model.lm_head.weight[ord(letter) - 32, 0] = 5.0
        model.save_pretrained(folder)
        return tiny.files(folder, "speaker")


def evaluation(gate: str) -> dict[str, str | bytes]:
    return {"specs/letters.yaml": spec("Evaluation", "letters", EVALUATION % gate)}


def begin(repo: Repo, llmops: Shell, gate: str) -> None:
    """Commit a model that is always right, and what asks it."""
    llmops.begin(
        {
            "evals/letters.yaml": TASK,
            "data/rows.jsonl": ROWS,
            "specs/rows.yaml": spec("Dataset", "rows", "format: rows\nsources: [{path: data/rows.jsonl}]"),
            "specs/speaker.yaml": spec("Model", "speaker", "source: {path: models/speaker}"),
            **speaker("a"),
            **evaluation(gate),
        }
    )


def gate(llmops: Shell, base: str = "HEAD~1") -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Judge the last commit; gives the exit code, what was said, and the judgement of the suite."""
    code = llmops("gate", "--base", base, "-o", "json")
    said = json.loads(llmops.out)
    return code, said, said["reports"][0]["judgement"]


def answered(repo: Repo, revision: str = "HEAD") -> list[Item]:
    """Read what the suite found of a revision."""
    graph = repo.desire(revision).graph
    (unit,) = (unit.digest for node in graph.nodes.values() if node.key.kind == "Evaluation" for unit in node.units)
    outcome, kept = ledger.outcome(repo.ledger(), unit), open_store(repo.workspace())
    assert outcome is not None
    files = blobs.manifest(kept, outcome.outputs["evidence"]).files
    items = list(evidence.decode(blobs.read(kept, files[evidence.ITEMS].sha256)))
    assert outcome.metrics["items"] == len(items)
    assert outcome.metrics["calls"] == 3 * len(items)
    return items


def test_a_head_that_is_clearly_worse_fails_after_few_items(repo: Repo, llmops: Shell) -> None:
    begin(repo, llmops, "detect: 0.05")
    repo.commit(speaker("b"))

    code, said, judgement = gate(llmops)

    assert (code, judgement["verdict"]) == (Exit.NO, "fail")
    assert judgement["method"] == "betting test, valid at every look"
    assert judgement["items"] == len(answered(repo)) == len(answered(repo, "HEAD~1")) == 10
    assert judgement["of"] == ITEMS
    assert said["made"] == 2 + 1 + 2

    code, said, _ = gate(llmops)
    assert (code, said["made"]) == (Exit.NO, 0)
    assert said["reports"][0]["reused"]
    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "10 of 400 items were sampled, in batches; method: betting test, valid at every look" in llmops.out
    assert llmops("plan") == Exit.WELL
    assert "evaluate" not in llmops.out


def test_a_head_that_is_the_same_passes_early_and_goes_on_where_the_limit_stopped_it(repo: Repo, llmops: Shell) -> None:
    begin(repo, llmops, "detect: 0.05, max_items: 25, on_inconclusive: extend")
    repo.commit({"models/speaker/README.md": "The same.\n"})

    code, _, judgement = gate(llmops)

    assert (code, judgement["verdict"], judgement["items"]) == (Exit.RUNNING, "inconclusive", 20)
    assert judgement["note"] == "undecided after 20 of 400 items"
    first = answered(repo)
    code, said, _ = gate(llmops)
    assert (code, said["made"]) == (Exit.RUNNING, 0)

    (repo.folder / "models/speaker/README.md").unlink()
    repo.commit(evaluation("detect: 0.05"))
    repo.commit({"models/speaker/README.md": "The same.\n"})
    code, _, judgement = gate(llmops)

    assert (code, judgement["verdict"]) == (Exit.WELL, "pass")
    assert 20 < judgement["items"] < 120
    assert answered(repo)[:20] == first
    assert llmops("fsck") == Exit.WELL, llmops.out  # no batch is written over bytes that the store has
    assert {item.id for item in answered(repo)} == {item.id for item in answered(repo, "HEAD~1")}
    assert llmops("apply") == Exit.WELL, llmops.err
    assert len(answered(repo)) == judgement["items"]


def test_a_gate_and_a_step_that_are_killed_lose_no_batch_that_was_answered(repo: Repo, llmops: Shell) -> None:
    begin(repo, llmops, "rule: non_inferiority, margin: 0.002")
    repo.commit({"models/speaker/README.md": "The same.\n"})
    command = [sys.executable, "-m", "llmops", "-C", str(repo.folder), "gate", "--base", "HEAD~1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = repo.workspace().work

    order = wait_for_results(work)
    process.kill()
    process.wait()
    os.kill(file_locks.holder(order / orders.LOCK), signal.SIGKILL)
    before = {path.name: items_of(repo, path) for path in (order / orders.RESULTS).glob("*.json")}
    assert all(0 < len(items) < ITEMS for items in before.values())

    code, _, judgement = gate(llmops)

    assert (code, judgement["items"]) == (Exit.NO, ITEMS)
    for name, items in before.items():
        assert items_of(repo, order / orders.RESULTS / name)[: len(items)] == items
    assert len(answered(repo)) == len(answered(repo, "HEAD~1")) == ITEMS


@pytest.mark.parametrize("signals", [1, 2])
def test_a_gate_that_is_told_to_stop_leaves_its_batches_to_the_next_one(
    signals: int, repo: Repo, llmops: Shell
) -> None:
    begin(repo, llmops, "rule: non_inferiority, margin: 0.002")
    repo.commit({"models/speaker/README.md": "The same.\n"})
    command = [sys.executable, "-m", "llmops", "-C", str(repo.folder), "gate", "--base", "HEAD~1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    order = wait_for_results(repo.workspace().work)
    step = file_locks.holder(order / orders.LOCK)
    os.kill(step, signal.SIGSTOP)  # so that it does not end before the gate does

    for _ in range(signals):
        process.terminate()
        time.sleep(0.3)
    _, err = process.communicate(timeout=30)

    assert process.returncode == Exit.INTERRUPTED, err
    assert ("stopped by a signal" in err) is (signals == 1)
    state = ledger.state(repo.ledger())
    assert state is not None
    assert (state.lease, list(state.intents)) == (None, [order.name]), "the next one does not know of it"
    before = {path.name: items_of(repo, path) for path in (order / orders.RESULTS).glob("*.json")}
    os.kill(step, signal.SIGCONT)

    code, _, judgement = gate(llmops)

    assert (code, judgement["items"]) == (Exit.NO, ITEMS)
    assert f"joined {order.name}" in llmops.err
    for name, items in before.items():
        assert items_of(repo, order / orders.RESULTS / name)[: len(items)] == items
    assert len(answered(repo)) == len(answered(repo, "HEAD~1")) == ITEMS
    assert (order / orders.LOG).read_text().count("Traceback") == 0


def test_an_order_that_ended_by_other_limits_while_nobody_looked_goes_on_in_the_run_that_finds_it(
    repo: Repo, llmops: Shell
) -> None:
    begin(repo, llmops, "detect: 0.05, max_items: 25")
    repo.commit({"models/speaker/README.md": "The same.\n"})
    command = [sys.executable, "-m", "llmops", "-C", str(repo.folder), "gate", "--base", "HEAD~1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    order = wait_for_order(repo.workspace().work, lambda folder: bool(file_locks.holder(folder / orders.LOCK)))
    process.kill()
    process.wait()
    assert wait_for_order(repo.workspace().work, lambda folder: (folder / orders.OUTCOME).exists()) == order

    (repo.folder / "models/speaker/README.md").unlink()
    repo.commit(evaluation("detect: 0.05"))
    repo.commit({"models/speaker/README.md": "The same.\n"})
    code, said, judgement = gate(llmops)

    assert (code, judgement["verdict"]) == (Exit.WELL, "pass")
    assert 20 < judgement["items"] == len(answered(repo)) < 120
    assert said["made"] == 2
    assert "joined" in llmops.err
    assert gate(llmops)[1]["made"] == 0


def test_a_step_that_fails_keeps_what_was_answered_and_there_is_no_verdict(repo: Repo, llmops: Shell) -> None:
    begin(repo, llmops, "rule: superiority")
    bad = int(betting.random_order(map(str, range(ITEMS)), "1234")[35])
    rows = [{"question": f"Item {number}?", "answer": "a", "part": int(number != bad)} for number in range(ITEMS)]
    task = TASK.replace("{{question}}", "{{1 // part}}")
    repo.commit({"evals/letters.yaml": task, "data/rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    repo.commit({"models/speaker/README.md": "The same.\n"})

    code, said, judgement = gate(llmops)

    assert (code, judgement["items"], judgement["verdict"]) == (Exit.FAULT, 30, "inconclusive")
    assert any("ZeroDivisionError" in why for why in said["failed"].values())
    assert len(answered(repo)) == len(answered(repo, "HEAD~1")) == 30
    assert gate(llmops)[0] == Exit.FAULT
    assert len(answered(repo)) == 30


def test_evidence_that_rots_is_never_judged_and_is_asked_again_from_the_start(repo: Repo, llmops: Shell) -> None:
    begin(repo, llmops, "detect: 0.05")
    repo.commit(speaker("b"))
    assert gate(llmops)[0] == Exit.NO
    before = answered(repo)
    kept = open_store(repo.workspace())
    (unit,) = (
        one for node in repo.desire().graph.nodes.values() for one in node.units if node.key.kind == "Evaluation"
    )
    outcome = ledger.outcome(repo.ledger(), unit.digest)
    assert outcome is not None
    items = blobs.manifest(kept, outcome.outputs["evidence"]).files[evidence.ITEMS]
    blob = Path(next(one.path for one in blobs.listing(kept) if one.digest == items.sha256))
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"Item", b"Mite"))

    assert llmops("gate", "--base", "HEAD~1") == Exit.FAULT
    assert "is corrupt: its bytes do not match its digest. Remove it: `llmops fsck --repair`." in llmops.err
    assert llmops("fsck") == Exit.NO
    assert llmops("fsck", "--repair") == Exit.WELL

    code, _, judgement = gate(llmops)
    assert (code, judgement["items"]) == (Exit.NO, 10)
    assert answered(repo) == before
    assert llmops("fsck") == Exit.WELL


def items_of(repo: Repo, result: Path) -> list[Item]:
    kept = open_store(repo.workspace())
    made = msgspec.json.decode(result.read_bytes(), type=orders.JobResult)
    files = blobs.manifest(kept, made.outputs["evidence"]).files
    return list(evidence.decode(blobs.read(kept, files[evidence.ITEMS].sha256)))
