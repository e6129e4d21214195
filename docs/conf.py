"""Configures the site: Sphinx reads the Markdown of this folder and writes build/site.

The pages are plain Markdown, so a forge shows them as they are; only this file knows their order in the navigation.

Effects: writes the list of external links beside the site.
"""

import fnmatch
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from llmops import __version__

project = "llmops"
release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
"""Headings down to this level can be linked to, by the anchor that GitHub gives them."""

html_theme = "furo"
html_title = "llmops"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

NAVIGATION = {
    "index": (
        "tutorial/index",
        "guides/index",
        "concepts/index",
        "reference/index",
        "extending/index",
        "ARCHITECTURE",
        "decisions/index",
    ),
    "tutorial/index": ("tutorial/0*",),
    "guides/index": (
        *("guides/two-machines", "guides/s3-store", "guides/ray-cluster", "guides/github", "guides/other-ci"),
        *("guides/signatures", "guides/secrets", "guides/bring-a-model", "guides/import", "guides/python"),
        *("guides/call-a-deployment", "guides/metrics", "guides/roll-back", "guides/recover-a-lease"),
    ),
    "concepts/index": tuple(
        f"concepts/{name}" for name in ("digest", "plan", "gate", "rollout", "trust", "policies", "recovery")
    ),
    "reference/index": ("reference/*", "assertions", "gates", "glossary", "performance"),
    "extending/index": (
        *("extending/kinds", "extending/live-kinds", "extending/engines", "extending/runtimes", "extending/runners"),
        *("extending/tasks", "extending/parsers", "extending/middleware", "extending/installed"),
    ),
    "decisions/index": ("decisions/0*",),
}
"""Pages below each page in the navigation. A page that is below no other fails the build."""


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Append the navigation to a page, as the directive that Sphinx reads."""
    others = app.env.found_docs - {name}
    below = [page for page in NAVIGATION.get(name, ()) if fnmatch.filter(others, page)]
    if below:
        source[0] += "\n".join(["\n\n```{toctree}", ":hidden:", ":glob:", "", *(f"/{page}" for page in below), "```\n"])


def note_external_links(app: Sphinx, tree: nodes.document, name: str) -> None:
    """Collect the external links of a page; they are listed, not fetched."""
    uris = (node.get("refuri", "") for node in tree.findall(nodes.reference))
    app.external_links.update((uri, name) for uri in uris if "://" in uri)


def write_external_links(app: Sphinx, error: Exception | None) -> None:
    lines = (f"{uri} {name}\n" for uri, name in sorted(app.external_links))
    Path(app.outdir).with_name("external-links.txt").write_text("".join(lines))


def setup(app: Sphinx) -> None:
    app.external_links = set()
    app.connect("source-read", add_navigation)
    app.connect("doctree-resolved", note_external_links)
    app.connect("build-finished", write_external_links)
