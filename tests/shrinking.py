"""Makes the demonstration small enough for a minute."""

from __future__ import annotations

from pathlib import Path

from demo import corpus

SMALLER = {
    "specs/training.yaml": [
        ("hidden_size: 128", "hidden_size: 64"),
        ("intermediate_size: 344", "intermediate_size: 128"),
        ("num_hidden_layers: 4", "num_hidden_layers: 2"),
        ("vocab_size: 2048", "vocab_size: 512"),
        ("max_steps: 150", "max_steps: 10"),
        ("max_steps: 260", "max_steps: 200"),
        ("max_length: 160", "max_length: 64"),
    ],
    "specs/route.yaml": [
        ("detect: 0.08", "detect: 0.5"),
        ("{rule: minimum, value: 0.6}", "{rule: no_regression, detect: 0.5}"),
        ("{duration: 5s, min_requests: 10,", "{duration: 3s, min_requests: 5,"),
    ],
}


ROWS, TOPICS = 240, 40


def shrink(folder: Path) -> None:
    """Make the model and the question so small that a minute teaches it: the answer stands in the question."""
    for path, edits in SMALLER.items():
        file = folder / path
        text = file.read_text()
        for old, new in edits:
            assert old in text, f"{path} does not hold {old!r}"
            text = text.replace(old, new)
        file.write_text(text)
    topics = folder / "kb" / "topics.jsonl"
    topics.write_text("".join(topics.read_text().splitlines(keepends=True)[:TOPICS]))
    modules = [corpus.MODULES[number % len(corpus.MODULES)] for number in range(ROWS)]
    rows = [corpus.row(f"{module} {number} {module}", module) for number, module in enumerate(modules)]
    (folder / "kb" / "docstrings.jsonl").write_text(corpus.lines(rows))
