"""check: Check every spec of a commit.

Reads the commit, not your working copy; --worktree reads the working copy, as `git add --all` would commit it. Reports
all problems at once, each with its file, its line, the reason and the remedy.

examples:
  llmops check                    check HEAD
  llmops check --worktree         check what is not committed yet
  llmops check -o json feature    check a branch, and print JSON

Effects: reads git, prints.
"""

import argparse

from llmops.cli.completers import add_revision
from llmops.cli.options import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Invalid, Problem
from llmops.git import repository, tree
from llmops.index import commits
from llmops.reports.formatting import count, short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "revision", nargs="?", default="HEAD", help="commit, branch or tag (default: HEAD)")
    parser.add_argument("--worktree", action="store_true", help="check the working copy instead of a commit")
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = repository.discover(arguments.folder)
    name = "the working copy"
    if arguments.worktree:
        files = tree.working_copy(repo)
    else:
        commit = tree.commit_id(repo, arguments.revision)
        files, name = tree.files(repo, commit), f"commit {short(commit)}"
    problems: tuple[Problem, ...] = ()
    amount = 0
    try:
        amount = len(commits.desire_files(commits.open_at(repo), name, files).graph.nodes)
    except Invalid as error:
        problems = error.problems
    if arguments.output == "json":
        terminal.print_json({"checked": name, "specs": amount, "problems": problems})
    elif problems:
        terminal.error("\n".join(map(str, problems)))
        terminal.error(f"{count(len(problems), 'problem')} in {name}.")
    else:
        terminal.print(f"{count(amount, 'spec')} of {name}: no problems.")
        if not amount:
            folders = ", ".join(f"{folder}/" for folder in commits.settings_of(files, name).specs)
            terminal.note(f"Specs are the YAML files below {folders}.")
    return Exit.NO if problems else Exit.WELL
