"""init: Prepare a repository.

Writes llmops.yaml, the folders and the schemas, and a workflow and an action for GitHub; files that are there stay as
they are. Then it begins the ledger, here and at the remote, unless there is one. With LLMOPS_SIGNING_KEY a ledger that
was not signed is signed from here on.

examples:
  llmops init
  llmops init -C path/to/repository

Effects: writes files and the ledger, prints.
"""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

from llmops.cli.commands import schema
from llmops.cli.open_repository import open_repository
from llmops.cli.options import add_environment, locate
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Invalid, Misused
from llmops.git import worktree
from llmops.host import disk
from llmops.ledger import ledger
from llmops.registry import PLUGINS
from llmops.specs import loading

FOLDERS = {
    "specs": "Specs: one YAML file or several for each resource. `llmops schema` lists the kinds.",
    "prompts": "Prompt templates (Jinja2), named by specs of kind Prompt.",
    "models": "Model cards (Markdown), named by specs of kind Model.",
    "kb": "Documents and data.",
    "evals": "lm-eval tasks, named by specs of kind Evaluation.",
}
WORKFLOW, ACTION = ".github/workflows/llmops.yml", ".github/actions/llmops/action.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    if repo.is_bare:
        raise Misused("a bare repository has no folder for specs. Clone it, and run `llmops init` in the clone.")
    root = repo.top
    templates = resources.files("llmops") / "scaffold"
    _write(root / "llmops.yaml", (templates / "llmops.yaml").read_text(), root, terminal)
    for folder, text in FOLDERS.items():
        if not any((root / folder).glob("*")):
            _write(root / folder / "README.md", f"{text}\n", root, terminal)
    _write(root / WORKFLOW, (templates / "workflow.yml").read_text(), root, terminal)
    _write(root / ACTION, (templates / "action.yml").read_text(), root, terminal)
    schema.write(root / "specs" / "schemas")
    settings, problems = loading.read_settings(worktree.files(repo), PLUGINS)
    if problems:
        raise Invalid(problems)
    where = locate(arguments, repo, settings).ledger
    began = "Began the ledger" if ledger.start(where) else "The ledger is there"
    terminal.say(f"{began}: {where.results} and {where.releases}{_shared(where.remote)}.")
    if where.at.seal.key and (signed := ledger.countersign(where)):
        terminal.say(f"Signed what is there: {' and '.join(signed)}.")
    terminal.say("Next: write specs, commit, `llmops check`, `llmops plan`, `llmops apply`.")
    return Exit.WELL


def _shared(remote: str) -> str:
    return f", shared through {remote}" if remote else ", only here: the repository has no remote"


def _write(path: Path, text: str, root: Path, terminal: Terminal) -> None:
    if path.exists():
        terminal.remark(f"kept  {path.relative_to(root)}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write(path, text.encode())
    terminal.say(f"wrote {path.relative_to(root)}")
