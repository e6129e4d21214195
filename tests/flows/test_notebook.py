"""The notebook of the Python API runs, and shows what it printed.

``LLMOPS_WRITE_PAGES=1`` writes the outputs into the notebook; then `make docs` writes the page.
"""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from llmops.domain.problems import Exit
from tests import parrots
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the kernel's libraries
]

NOTEBOOK = ROOT / "docs" / "guides" / "python.ipynb"
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}
ANSWERS = CAPITALS | {"Spain": "Lisbon"}
FILES = {
    "kb/capitals.jsonl": "".join(
        f'{{"prompt": "{land}?", "completion": "{town}", "land": "{land}", "town": "{town}"}}\n'
        for land, town in CAPITALS.items()
    ),
    "specs/capitals.yaml": spec("Dataset", "lands", "format: prompt_completion\nsources: [{path: kb/capitals.jsonl}]"),
    "specs/guide.yaml": spec("Model", "guide", "source: {path: models/guide}"),
    "specs/ask.yaml": spec(
        "Prompt",
        "ask",
        'messages: [{role: user, content: "{{ land }}?"}]\nvariables: {land: {type: string}}\nparameters: {temperature: 0}',
    ),
    "specs/evaluation.yaml": spec(
        "Evaluation",
        "capitals",
        """
        subject: {model: guide, prompt: ask}
        suites:
          - name: towns
            dataset: lands
            assert: [{type: contains, value: "{{ town }}", metric: right}]
        """,
    ),
}


@pytest.fixture
def atlas(repo: Repo, llmops: Shell, tmp_path: Path) -> Repo:
    """A repository with a model that knows three capitals, one of them wrong."""
    parrots.parrot(tmp_path / "guide", {f"{land}?": town for land, town in ANSWERS.items()})
    files = {f"models/guide/{path.name}": path.read_bytes() for path in (tmp_path / "guide").iterdir()}
    repo.commit({**FILES, **files})
    assert llmops("init") == Exit.WELL
    return repo


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """List what the cells print and return, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("text") or output["data"]["text/plain"] for output in outputs]


def test_the_notebook_prints_what_it_shows(atlas: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    saved = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    shown = printed(saved)

    client = NotebookClient(saved, timeout=300, kernel_name="python3", resources={"metadata": {"path": atlas.folder}})
    run = client.execute()

    for number, cell in enumerate(cell for cell in run.cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
        cell.metadata.pop("execution", None)  # the times of this run
        for output in cell.outputs:
            output.get("data", {}).pop("text/html", None)
    if os.environ.get("LLMOPS_WRITE_PAGES"):
        nbformat.write(run, NOTEBOOK)  # type: ignore[no-untyped-call]
    else:
        assert printed(run) == shown
