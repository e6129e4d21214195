"""Makes repositories of any size: a quarter each of datasets, trainings, prompts and evaluations.

A spec has about 40 lines. Files are spread over 100 folders. `git fast-import` writes them, so that 100,000 take
seconds.

Effects: runs git.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from llmops.api import opening
from llmops.domain.records import Outcome, Provenance
from llmops.environments import workspaces
from llmops.index import commits
from llmops.ledger import ledger
from llmops.store import blobs

GIT = ("git",)
HEAD = "apiVersion: llmops/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n  description: Number {number}.\n"
LABELS = "  labels:\n    team: search\n    tier: two\nspec:\n"
NOTE = "".join(f"  # {'A remark of an author who wants to be understood later.':<60}\n" for _ in range(8))
DATASET = """  format: text
  sources:
    - path: kb/{folder}/{name}.txt
  split:
    test_fraction: 0.1
    seed: {number}
"""
TRAINING = """  task: pretrain
  architecture:
    model_type: llama
    config:
      hidden_size: 64
      num_hidden_layers: 2
  tokenizer:
    vocab_size: 512
  datasets:
    - name: d{number}
  arguments:
    learning_rate: 0.001
    max_steps: {steps}
    per_device_train_batch_size: 8
    warmup_steps: 10
    weight_decay: 0.01
  seed: 42
"""
PROMPT = """  messages:
    - role: system
      content: You are assistant {number}.
    - role: user
      content: '{{{{ question }}}}'
  variables:
    question:
      type: string
  parameters:
    temperature: 0.0
    max_tokens: 64
"""
EVALUATION = """  subject:
    model: t{number}
    prompt: p{number}
  suites:
    - name: ask
      task: evals/t.yaml
      dataset: d{number}
      gate:
        rule: no_regression
        detect: 0.05
    - name: more
      task: evals/t.yaml
      dataset: d{number}
      limit: 100
      gate:
        rule: minimum
        value: 0.5
"""
KINDS = (
    ("Dataset", "d", DATASET),
    ("Training", "t", TRAINING),
    ("Prompt", "p", PROMPT),
    ("Evaluation", "e", EVALUATION),
)
TASK = "task: t\noutput_type: generate_until\ndoc_to_text: x\ndoc_to_target: y\n"
SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"
PROVENANCE = Provenance(commit="c", actor="a", run="", started="2026-01-01T00:00:00Z", seconds=60.0, environment={})


def make(folder: Path, amount: int) -> None:
    """Make a repository of so many specs with two commits; the second changes one training."""
    subprocess.run([*GIT, "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    stream = [_commit("all", [*_files(amount), ("evals/t.yaml", TASK), ("llmops.yaml", SETTINGS)])]
    stream.append(_commit("one", [_spec(changed(amount), steps=7)]))
    subprocess.run([*GIT, "fast-import", "--quiet"], cwd=folder, input=b"".join(stream), check=True)
    subprocess.run([*GIT, "reset", "--quiet", "--hard"], cwd=folder, check=True)


def _files(amount: int) -> Iterator[tuple[str, str]]:
    for number in range(amount):
        yield _spec(number)
        if number % len(KINDS) == 0:
            name = number // len(KINDS)
            yield f"kb/{name % 100:02d}/d{name}.txt", f"Text {name}.\n"


def _spec(number: int, steps: int = 0) -> tuple[str, str]:
    kind, _, body = KINDS[number % len(KINDS)]
    own = number // len(KINDS)
    values = {"number": own, "name": name_of(number), "folder": f"{own % 100:02d}", "steps": steps or 100 + own}
    return path_of(number), HEAD.format(kind=kind, **values) + LABELS + NOTE + body.format(**values)


def name_of(number: int) -> str:
    return f"{KINDS[number % len(KINDS)][1]}{number // len(KINDS)}"


def path_of(number: int) -> str:
    return f"specs/{number % 100:02d}/{name_of(number)}.yaml"


def needs_of(number: int) -> tuple[int, ...]:
    """List the references of a spec: a training has a dataset, an evaluation a training, a prompt and a dataset."""
    return {"t": (number - 1,), "e": (number - 2, number - 1, number - 3)}.get(KINDS[number % len(KINDS)][1], ())


def changed(amount: int) -> int:
    """Number of the spec that the second commit changes: the last training."""
    return len(KINDS) * (amount // len(KINDS) - 1) + 1


def _commit(message: str, files: list[tuple[str, str]]) -> bytes:
    when = (
        f"commit refs/heads/main\ncommitter bench <bench@localhost> 1700000000 +0000\ndata {len(message)}\n{message}\n"
    )
    parts = [when.encode()]
    for path, text in files:
        data = text.encode()
        parts.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
    return b"".join([*parts, b"\n"])


def fill(folder: Path) -> int:
    """Record everything of the first commit as built, as after an apply; return the number of outcomes."""
    workspace = opening.workspace(folder, revision="HEAD~1", offline=True)
    desired = commits.desire(workspace.commits, "HEAD~1")
    ledger.start(workspace.ledger)
    (folder / ".git" / "built").mkdir(exist_ok=True)
    built = blobs.add_folder(workspaces.open_store(workspace), folder / ".git" / "built")
    outcomes = [
        Outcome(
            unit=unit.digest,
            key=key,
            part=unit.label,
            step="x",
            outputs={"x": built},
            metrics={"m": 1.0},
            provenance=PROVENANCE,
        )
        for key, node in desired.graph.nodes.items()
        for unit in node.units
    ]
    ledger.record(workspace.ledger, outcomes, "all")
    return len(outcomes)
