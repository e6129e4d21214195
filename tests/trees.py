"""Trees for tests: the files of a commit in memory, and a small system to begin with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from llmops import registry
from llmops.domain.problems import Invalid
from llmops.planning.plan import CurrentState
from llmops.releases.controllers import CONTROLLERS
from llmops.specs import graph, loading
from llmops.specs.graph import Graph


class Tree(dict[str, bytes]):
    """Files in memory, as `llmops.domain.resources.Files`; ``odd`` names entries that are no regular files."""

    def __init__(self, files: Mapping[str, str | bytes], odd: Mapping[str, str] | None = None) -> None:
        super().__init__({path: text.encode() if isinstance(text, str) else text for path, text in files.items()})
        self._odd = dict(odd or {})

    def names(self, folder: str = "") -> tuple[str, ...]:
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        return tuple(sorted(path for path in {*self, *self._odd} if path.startswith(prefix)))

    def size(self, path: str) -> int:
        return len(self.get(path, b""))

    def sha256(self, path: str) -> str:
        return hashlib.sha256(self[path]).hexdigest()

    def expect(self, paths: Iterable[str]) -> None:
        """Everything is here already."""

    def oddity(self, path: str) -> str:
        return self._odd.get(path, "")

    def edited(self, path: str, old: str, new: str) -> Tree:
        """Return the same tree with a text replaced in one file."""
        text = self[path].decode()
        assert old in text, f"{path} does not hold {old!r}"
        return Tree({**self, path: text.replace(old, new)}, self._odd)

    def without(self, *paths: str) -> Tree:
        return Tree({path: data for path, data in self.items() if path not in paths}, self._odd)


def spec(kind: str, name: str, body: str, **metadata: str) -> str:
    """Write a spec; ``body`` is YAML, indented as one likes."""
    lines = [line for line in body.splitlines() if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    inside = "\n".join(f"  {line[margin:]}" for line in lines)
    extra = "".join(f", {key}: {value}" for key, value in metadata.items())
    head = f"apiVersion: llmops/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{extra}}}\n"
    return f"{head}spec:\n{inside}\n" if inside else f"{head}spec: {{}}\n"


def system() -> Tree:
    """Return a whole small system: data, two trainings, a prompt, an evaluation, a deployment."""
    return Tree(
        {
            "data/corpus.txt": "A text to read.\n",
            "data/rows.jsonl": '{"messages": [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]}\n',
            "prompts/ask.jinja": "{{ question }}\n",
            "evals/sums.yaml": "task: sums\noutput_type: generate_until\ndoc_to_text: x\ndoc_to_target: y\n",
            "specs/corpus.yaml": spec("Dataset", "corpus", "format: text\nsources: [{path: data/corpus.txt}]"),
            "specs/rows.yaml": spec("Dataset", "rows", "format: messages\nsources: [{path: data/rows.jsonl}]"),
            "specs/base.yaml": spec(
                "Training",
                "base",
                """
                task: pretrain
                architecture: {model_type: llama, config: {hidden_size: 64}}
                tokenizer: {vocab_size: 512}
                datasets: [{name: corpus}]
                """,
            ),
            "specs/tuned.yaml": spec(
                "Training",
                "tuned",
                """
                task: sft
                base: base
                datasets: [{name: rows}]
                finetuning: lora
                lora: {r: 8}
                arguments: {max_steps: 10}
                """,
            ),
            "specs/ask.yaml": spec(
                "Prompt", "ask", "template: prompts/ask.jinja\nvariables: {question: {type: string}}"
            ),
            "specs/sums.yaml": spec(
                "Evaluation",
                "sums",
                """
                subject: {model: tuned, prompt: ask}
                suites:
                  - {task: evals/sums.yaml, dataset: rows}
                  - {name: few, task: evals/sums.yaml, dataset: rows, limit: 1}
                """,
            ),
            "specs/chat.yaml": spec("Deployment", "chat", "model: tuned\nprompt: ask\nrequires: [sums]"),
        }
    )


def build(tree: Tree) -> Graph:
    """Read a tree into a graph; raises `Invalid` with its problems."""
    return graph.build(loading.parse(tree, registry.PLUGINS), tree, registry.PLUGINS)


def problems(tree: Tree) -> list[str]:
    """List what is wrong with a tree, in the words for the user."""
    with pytest.raises(Invalid) as error:
        build(tree)
    return [str(problem) for problem in error.value.problems]


def current(*known: Any, **more: Any) -> CurrentState:
    """Return what is known outside the tree, with the controllers there are."""
    return CurrentState(*known, controllers=CONTROLLERS, **more)
