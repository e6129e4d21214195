"""Writes a notebook as a page of Markdown, with the outputs that it was saved with.

Effects: reads the notebook.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def page(path: Path) -> str:
    """Write the cells of a notebook (nbformat 4) in order: text, code, and the plain text of each output."""
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join(block for cell in cells for block in _blocks(cell)) + "\n"


def _blocks(cell: Mapping[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield text
        return
    yield f"```python\n{text}\n```"
    for output in cell["outputs"]:
        shown = output.get("text") or output["data"]["text/plain"]
        yield f"```text\n{''.join(shown).rstrip()}\n```"
