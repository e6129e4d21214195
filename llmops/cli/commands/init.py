"""init: Create the settings, folders and ledger.

Writes llmops.yaml, the folders, the schemas, and a workflow and an action for GitHub; existing files are kept. Creates
the ledger here and at the remote, unless it exists. With LLMOPS_SIGNING_KEY, an unsigned ledger is signed from now on.

examples:
  llmops init
  llmops init -C path/to/repository
  llmops init -e production        create the ledger of another environment

Effects: writes files and the ledger, prints.
"""

import argparse
from importlib import resources
from pathlib import Path

from llmops.api import opening
from llmops.cli.commands import schema
from llmops.cli.options import add_environment
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Invalid, Misused
from llmops.git import repository, tree
from llmops.host import disk
from llmops.ledger import ledger
from llmops.registry import PLUGINS
from llmops.specs import settings_file

FOLDERS = {
    "specs": "Specs: one or several YAML files for each resource. `llmops schema` lists the kinds.",
    "prompts": "Prompt templates (Jinja2), named by specs of kind Prompt.",
    "models": "Model cards (Markdown), named by specs of kind Model.",
    "kb": "Documents and data.",
    "evals": "lm-eval tasks, named by specs of kind Evaluation.",
}
SCAFFOLD = {
    ".github/workflows/llmops.yml": "workflow.yml",
    ".github/actions/llmops/action.yml": "action.yml",
}


add_arguments = add_environment


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    repo = repository.discover(arguments.folder)
    if repo.is_bare:
        raise Misused("a bare repository has no working copy. Clone it, and run `llmops init` in the clone.")
    root = repo.top
    templates = resources.files("llmops") / "scaffold"
    _write(root / "llmops.yaml", (templates / "llmops.yaml").read_text(), root, terminal)
    for folder, text in FOLDERS.items():
        if not any((root / folder).glob("*")):
            _write(root / folder / "README.md", f"{text}\n", root, terminal)
    for path, template in SCAFFOLD.items():
        _write(root / path, (templates / template).read_text(), root, terminal)
    schema.write(root / "specs" / "schemas")
    terminal.print("wrote specs/schemas/")
    settings, problems = settings_file.read(tree.working_copy(repo), PLUGINS)
    if problems:
        raise Invalid(problems)
    where = opening.locate(repo, settings, arguments.environment).ledger
    verb = "Created the ledger" if ledger.start(where) else "The ledger exists"
    shared = f"shared through {where.at.remote}" if where.at.remote else "only in this clone, which has no remote"
    terminal.print(f"{verb}: {where.results} and {where.releases}, {shared}.")
    if where.at.seal.key and (signed := ledger.countersign(where)):
        terminal.print(f"Signed the existing ledger: {' and '.join(signed)}.")
    terminal.print("Next: write specs, commit, `llmops check`, `llmops plan`, `llmops apply`.")


def _write(path: Path, text: str, root: Path, terminal: Terminal) -> None:
    if path.exists():
        terminal.note(f"kept  {path.relative_to(root)}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write(path, text.encode())
    terminal.print(f"wrote {path.relative_to(root)}")
