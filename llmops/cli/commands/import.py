"""import: Turn the files of other tools into specs.

Reads promptfoo's promptfooconfig.yaml and GitHub's .prompt.yml of your working copy, and writes Prompts, Datasets with
their rows, and Evaluations whose suites assert the same. Nothing is overwritten, and what is written passes
`llmops check`. What cannot be translated is listed with its line and what to do; then the exit code is 1.

Hosted models have no weights here: say which of your models stands for each.

examples:
  llmops import promptfooconfig.yaml --dry-run
  llmops import promptfooconfig.yaml --provider openai:gpt-4o=small --judge large
  llmops import summary.prompt.yml --provider openai/gpt-4o-mini=small --name summary

Effects: reads the working copy, writes files into it, prints.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from llmops.cli import completers
from llmops.cli.failures import listed
from llmops.cli.open_repository import open_repository, settings_of
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Misused, Problem, Refused
from llmops.git import worktree
from llmops.git.repository import Repository
from llmops.git.tree import CommitFiles
from llmops.host import disk
from llmops.importing import convert
from llmops.importing.formats import FORMATS
from llmops.importing.translation import ImportOptions, Translation
from llmops.reports.formatting import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats = ", ".join(FORMATS.files())
    parser.add_argument("files", metavar="FILE", nargs="+", help=f"a file of another tool: {formats}")
    provider = parser.add_argument(
        "--provider",
        metavar="PROVIDER=MODEL",
        action="append",
        type=_stands_for,
        default=[],
        help="which Model or Training stands for a model of the file; may be given several times",
    )
    completers.complete(provider, _complete_provider)
    judge = parser.add_argument("--judge", metavar="MODEL", help="who decides on rubrics, where no provider does")
    completers.complete(judge, completers.models)
    parser.add_argument("--name", metavar="NAME", help="what the specs are called (default: as the file)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    add_output(parser)


def _stands_for(text: str) -> tuple[str, str]:
    provider, equals, model = text.rpartition("=")
    if not equals or not provider or not model:
        raise argparse.ArgumentTypeError(f'"{text}" does not say which model stands for which: openai:gpt-4o=small')
    return provider, model


def _complete_provider(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Offer the models behind a "="."""
    provider, equals, model = prefix.rpartition("=")
    return [f"{provider}={name}" for name in completers.models(model, parsed_args)] if equals else []


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.name and len(arguments.files) > 1:
        raise Misused("several files cannot have one name. Import them one by one, or leave --name out.")
    repo = open_repository(arguments)
    files = worktree.files(repo)
    options = ImportOptions(
        models=dict(arguments.provider),
        judge=arguments.judge or "",
        name=arguments.name or "",
        specs=settings_of(files, "the working copy").specs[0],
    )
    paths = _paths(repo, files, [Path(arguments.folder) / name for name in arguments.files])
    translations = [convert.translate(path, files, options) for path in dict.fromkeys(paths)]
    made = _together(translations)
    wrong = (*_taken(repo.top, made), *convert.check(files, made))
    problems = (*(one for found in translations for one in found.problems), *wrong)
    notes = [*(one for found in translations for one in found.notes), *convert.unused(options, translations)]
    is_written = not arguments.dry_run and not wrong
    new = _write(repo.top, made) if is_written else ()
    if arguments.output == "json":
        terminal.show({"files": made, "written": is_written, "problems": listed(problems), "notes": listed(notes)})
    else:
        _say(made if arguments.dry_run else {}, new, notes, terminal)
        _complain(problems, wrong, terminal)
    return Exit.NO if problems else Exit.WELL


def _paths(repo: Repository, files: CommitFiles, given: Iterable[Path]) -> list[str]:
    """Give the paths of files from the root of the repository. Raises `Misused` with all that are not there."""
    top = repo.top.resolve()
    found = [one.resolve() for one in given]
    outside = [one for one in found if not one.is_relative_to(top)]
    paths = [one.relative_to(top).as_posix() for one in found if one not in outside]
    said = [f"{one} is not in this repository. Copy it here, with the files that it names." for one in outside]
    said += [f"there is no file {path}, or git ignores it." for path in paths if path not in files]
    if said:
        raise Misused("\n".join(said))
    return paths


def _together(translations: Iterable[Translation]) -> dict[str, str]:
    """Put together what is to be written. Raises `Refused` when two files would be one."""
    made: dict[str, str] = {}
    for found in translations:
        if twice := [path for path in found.files if made.get(path, found.files[path]) != found.files[path]]:
            raise Refused(f"two of the files become {', '.join(twice)}. Import them one by one, each with --name.")
        made |= found.files
    return made


def _taken(root: Path, made: dict[str, str]) -> tuple[Problem, ...]:
    """Say what is in the way, also of what git ignores: nothing is overwritten."""
    remedy = "Say --name for other names, or remove it first."
    taken = [path for path, text in made.items() if not _is_there(root / path, text) and os.path.lexists(root / path)]
    folders = dict.fromkeys(one.as_posix() for path in made for one in PurePosixPath(path).parents if one.name)
    barred = [
        one
        for one in folders
        if (root / one).is_symlink() or (os.path.lexists(root / one) and not (root / one).is_dir())
    ]
    return (
        *(Problem(path, 0, "", "is there already, and says something else.", remedy) for path in taken),
        *(Problem(path, 0, "", "is there already, and is no folder.", "Move it away.") for path in barred),
    )


def _is_there(path: Path, text: str) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def _write(root: Path, made: dict[str, str]) -> tuple[str, ...]:
    """Write what is not there yet; gives the paths."""
    new = tuple(path for path, text in made.items() if not _is_there(root / path, text))
    for path in new:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        disk.write(root / path, made[path].encode())
    return new


def _say(shown: dict[str, str], new: tuple[str, ...], notes: Iterable[Problem], terminal: Terminal) -> None:
    for path, text in shown.items():
        terminal.say(terminal.paint(f"{path}:", "bold"))
        terminal.say("\n".join(f"  {line}".rstrip() for line in text.splitlines()) + "\n")
    for path in new:
        terminal.say(f"wrote {path}")
    for note in notes:
        terminal.remark(f"note: {note}")
    if new:
        terminal.say("Next: read them, commit, `llmops check`, `llmops plan`.")


def _complain(problems: Iterable[Problem], wrong: tuple[Problem, ...], terminal: Terminal) -> None:
    found = list(problems)
    if found:
        terminal.complain("\n".join(map(str, found)))
        left = len(found) - len(wrong)
        said = [f"{count(left, 'thing')} not translated"] if left else []
        said += [f"nothing written: {count(len(wrong), 'problem')} in what it would be"] if wrong else []
        terminal.complain(f"{'; '.join(said)}.")
