"""Lays out one HTML page that needs nothing else: no network, no script, no font.

Pure.
"""

from collections.abc import Container, Iterable, Sequence
from html import escape

from llmops.reports import plots

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --dim: #59636e; --faint: #d8dee4; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --dim: #9198a1; --faint: #30363d; --panel: #161b22; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 8px; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0; } .dim { color: var(--dim); } .panel { background: var(--panel); border-radius: 8px; padding: 16px; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; }
pre { background: var(--panel); border-radius: 6px; padding: 10px 14px; overflow-x: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--faint); text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
.verdict { font-weight: 600; white-space: nowrap; }
.pass { color: #00745a; } .fail { color: #b84e00; } .inconclusive { color: #8a6100; }
@media (prefers-color-scheme: dark) {
  .pass { color: #3fd0a6; } .fail { color: #ff9a55; } .inconclusive { color: #f0b840; }
}
details { margin: 8px 0; } summary { cursor: pointer; } .answer { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 720px) { body { padding: 20px 16px 48px; } h1 { font-size: 22px; } .panel { padding: 12px; } }
""".strip()
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(headline: str, parts: Iterable[str], command: str) -> str:
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(headline)}</title>",
        f"<style>{STYLE}\n{plots.STYLE}</style></head><body>",
        f"<h1>{escape(headline)}</h1>",
    ]
    end = [f"<h2>Reproduce</h2><pre>{escape(command)}</pre>", "</body></html>"]
    return "\n".join([*head, *parts, *end]) + "\n"


def bullets(title: str, texts: Iterable[str]) -> str:
    return f"<h2>{escape(title)}</h2><ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def table(header: str, rows: Iterable[str]) -> str:
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def cells(texts: Sequence[str], numbers: Container[int] = (), *, tag: str = "td", style: str = "") -> str:
    """Lay out the cells of a row; ``numbers`` are the columns that hold figures, ``style`` is a class of all cells."""
    styles = ["number" if column in numbers else style for column in range(len(texts))]
    marked = zip(texts, styles, strict=True)
    return "".join(f"<{tag}{f' class={name}' if name else ''}>{escape(text)}</{tag}>" for text, name in marked)
