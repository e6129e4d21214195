"""Draws the layers of the product from its import contract.

Effects: reads pyproject.toml and the docstrings of the folders.
"""

import ast
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH, LINE, GAP, MARGIN = 920, 22, 7, 16
"""Pixels: the width of the drawing, the height of a folder's line, between layers, and around everything."""
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t d"
  font-family="ui-sans-serif, system-ui, Helvetica, Arial, sans-serif" font-size="13">
  <title id="t">The layers of llmops</title>
  <desc id="d">Folders from top to bottom. A folder imports only folders of the layers below its own.</desc>
  <style>
    .layer {{ fill: #f6f8fa; stroke: #57606a }}
    .folder {{ font-weight: 600; fill: #1f2328 }}
    .pure {{ fill: #3b6ea5 }}
    .about {{ font-size: 12px; fill: #57606a }}
  </style>
  <rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>
"""


def drawing() -> str:
    """Draw every layer as a box with its folders, one a line. A blue name marks a pure folder.

    Raises LookupError if pyproject.toml holds no contract of this type.
    """
    pure = set(contract("forbidden")["source_modules"])
    shapes, top = [], MARGIN
    for layer in contract("layers")["layers"]:
        folders = layer.split(" | ")
        height = LINE * len(folders) + 6
        shapes.append(
            f'<rect class="layer" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="5"/>'
        )
        for line, folder in enumerate(folders):
            y, style = top + 18 + LINE * line, "folder pure" if folder in pure else "folder"
            shapes.append(f'<text class="{style}" x="{MARGIN + 12}" y="{y}">{folder.removeprefix("llmops.")}</text>')
            shapes.append(f'<text class="about" x="{MARGIN + 120}" y="{y}">{escape(about(folder))}</text>')
        top += height + GAP
    note = "Imports go down, never up or sideways. Blue: the whole folder is pure."
    shapes.append(f'<text class="about" x="{MARGIN}" y="{top + 12}">{note}</text>')
    return HEAD.format(width=WIDTH, height=top + 12 + MARGIN) + "".join(f"  {shape}\n" for shape in shapes) + "</svg>\n"


def contract(sort: str) -> dict[str, list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for candidate in contracts:
        if candidate["type"] == sort:
            return dict(candidate)
    raise LookupError(f"pyproject.toml has no import contract of type {sort}.")


def about(module: str) -> str:
    """Read the first sentence of a folder's or a module's docstring, without its full stop."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0].replace("``", "").rstrip(".:")
