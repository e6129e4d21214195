"""import: Convert files of other tools into specs.

Reads files of your working copy, promptfoo's promptfooconfig.yaml and GitHub's .prompt.yml among them. Writes Prompts,
Datasets with their rows, and Evaluations whose suites assert the same. Existing files are never overwritten, and the
result passes `llmops check`. Exits 1 if something has no counterpart, and lists each with its line and a remedy.

The weights of hosted models are not available: map each to a Model or a Training of this repository with --provider.

examples:
  llmops import promptfooconfig.yaml --dry-run
  llmops import promptfooconfig.yaml --provider openai:gpt-4o=small --judge large
  llmops import summary.prompt.yml --provider openai/gpt-4o-mini=small --name summary

Effects: reads the working copy, writes files into it, prints.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from llmops.cli import completers
from llmops.cli.options import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Misused, Problem, Refused
from llmops.git import repository, tree
from llmops.git.repository import Repository
from llmops.git.tree import CommitFiles
from llmops.host import disk
from llmops.importing import convert
from llmops.importing.formats import FORMATS
from llmops.importing.translation import ImportOptions, Translation
from llmops.index import commits
from llmops.reports.formatting import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats = ", ".join(FORMATS.files())
    parser.add_argument("files", metavar="FILE", nargs="+", help=f"a file of another tool: {formats}")
    about = "use a Model or Training for a model of the file; repeatable"
    mapping: dict[str, Any] = {"metavar": "PROVIDER=MODEL", "action": "append", "type": _mapping, "default": []}
    completers.add(parser, _complete_provider, "--provider", help=about, **mapping)
    about = "judge for rubrics whose file names none"
    completers.add(parser, completers.models, "--judge", metavar="MODEL", help=about)
    parser.add_argument("--name", metavar="NAME", help="name of the specs (default: that of the file)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    add_output(parser)


def _mapping(text: str) -> tuple[str, str]:
    provider, equals, model = text.rpartition("=")
    if not equals or not provider or not model:
        raise argparse.ArgumentTypeError(f'"{text}" is not PROVIDER=MODEL. Example: openai:gpt-4o=small')
    return provider, model


def _complete_provider(arguments: argparse.Namespace, prefix: str) -> list[str]:
    provider, equals, _ = prefix.rpartition("=")
    return [f"{provider}={name}" for name in completers.models(arguments)] if equals else []


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.name and len(arguments.files) > 1:
        raise Misused("--name applies to one file. Import the files one by one, or leave out --name.")
    repo = repository.discover(arguments.folder)
    files = tree.working_copy(repo)
    options = ImportOptions(
        models=dict(arguments.provider),
        judge=arguments.judge or "",
        name=arguments.name or "",
        specs=commits.settings_of(files, "the working copy").specs[0],
    )
    paths = _paths(repo, files, [arguments.folder / name for name in arguments.files])
    translations = [convert.translate(path, files, options) for path in dict.fromkeys(paths)]
    outputs = _together(translations)
    conflicts = (*_conflicts(repo.top, outputs), *convert.check(files, outputs))
    problems = (*(problem for translation in translations for problem in translation.problems), *conflicts)
    notes = [*(note for translation in translations for note in translation.notes)]
    notes += convert.unused(options, translations)
    is_written = not arguments.dry_run and not conflicts
    written = _write(repo.top, outputs) if is_written else ()
    if arguments.output == "json":
        terminal.print_json({"files": outputs, "written": is_written, "problems": problems, "notes": notes})
    else:
        _print(outputs if arguments.dry_run else {}, written, notes, terminal)
        _print_problems(problems, conflicts, terminal)
    return Exit.NO if problems else Exit.WELL


def _paths(repo: Repository, files: CommitFiles, arguments: Iterable[Path]) -> list[str]:
    """Return paths relative to the root of the repository. Raises `Misused` with all that do not exist."""
    top = repo.top.resolve()
    absolute = [path.resolve() for path in arguments]
    outside = [path for path in absolute if not path.is_relative_to(top)]
    paths = [path.relative_to(top).as_posix() for path in absolute if path not in outside]
    errors = [f"{path} is not in this repository. Copy it here, with the files that it names." for path in outside]
    errors += [f"there is no file {path}, or git ignores it." for path in paths if path not in files]
    if errors:
        raise Misused("\n".join(errors))
    return paths


def _together(translations: Iterable[Translation]) -> dict[str, str]:
    """Merge the files of all translations. Raises `Refused` if two differ under one path."""
    merged: dict[str, str] = {}
    for translation in translations:
        files = translation.files
        if clashes := [path for path in files if merged.get(path, files[path]) != files[path]]:
            raise Refused(f"two files are converted to {', '.join(clashes)}. Import them one by one, each with --name.")
        merged |= files
    return merged


def _conflicts(root: Path, outputs: dict[str, str]) -> tuple[Problem, ...]:
    """Find existing paths that would be overwritten, also those that git ignores."""
    remedy = "Choose other names with --name, or remove the file first."
    taken = [path for path, text in outputs.items() if not _is_same(root / path, text) and os.path.lexists(root / path)]
    parents = (parent for path in outputs for parent in PurePosixPath(path).parents if parent.name)
    folders = dict.fromkeys(parent.as_posix() for parent in parents)
    barred = [
        folder
        for folder in folders
        if (root / folder).is_symlink() or (os.path.lexists(root / folder) and not (root / folder).is_dir())
    ]
    return (
        *(Problem(path, 0, "", "the file exists with other content.", remedy) for path in taken),
        *(Problem(path, 0, "", "the path exists and is not a folder.", "Move it away.") for path in barred),
    )


def _is_same(path: Path, text: str) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def _write(root: Path, outputs: dict[str, str]) -> tuple[str, ...]:
    new = tuple(path for path, text in outputs.items() if not _is_same(root / path, text))
    for path in new:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        disk.write(root / path, outputs[path].encode())
    return new


def _print(shown: dict[str, str], written: tuple[str, ...], notes: Iterable[Problem], terminal: Terminal) -> None:
    for path, text in shown.items():
        terminal.print(terminal.paint(f"{path}:", "bold"))
        terminal.print("\n".join(f"  {line}".rstrip() for line in text.splitlines()) + "\n")
    for path in written:
        terminal.print(f"wrote {path}")
    for note in notes:
        terminal.note(f"note: {note}")
    if written:
        terminal.print("Next: review the files, commit, `llmops check`, `llmops plan`.")


def _print_problems(problems: tuple[Problem, ...], conflicts: tuple[Problem, ...], terminal: Terminal) -> None:
    if not problems:
        return
    terminal.error("\n".join(map(str, problems)))
    untranslated = len(problems) - len(conflicts)
    facts = [f"{count(untranslated, 'item')} not converted"] if untranslated else []
    facts += [f"nothing written: {count(len(conflicts), 'problem')} in the result"] if conflicts else []
    terminal.error(f"{'; '.join(facts)}.")
