"""lock: Pin branches, tags and URLs to exact versions.

Resolves what the specs of your working copy name without an exact version: branches of the hub, URLs without a digest,
and built-in tasks of lm-eval. Writes the pins to llmops.lock. Existing pins stay, unless --update is given.

examples:
  llmops lock                pin what is not pinned yet
  llmops lock --update       resolve everything again

Effects: reads the working copy, uses the network, writes llmops.lock, prints.
"""

import argparse

from llmops import registry
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Broken, Exit, Invalid
from llmops.git import repository, tree
from llmops.host import disk
from llmops.kinds import KINDS
from llmops.specs import closures, loading, lock_file
from llmops.specs.settings import LOCK_FILE
from llmops.steps import pinning


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--update", action="store_true", help="also resolve what is pinned already")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = repository.discover(arguments.folder)
    files = tree.working_copy(repo)
    parsed = loading.parse(files, registry.PLUGINS)
    locked, problems = lock_file.read(files)
    if problems:
        raise Invalid(problems)
    specs = [closures.content_of(draft, KINDS).spec for draft in parsed.drafts.values()]
    wanted = {pin.name for spec in specs for pin in spec.pins if pin.is_moving}
    # Files that cannot be parsed may need pins that no other file names.
    pins, failures = dict(locked) if parsed.unread else {}, []
    for name in sorted(wanted):
        if name in locked and not arguments.update:
            pins[name] = locked[name]
            continue
        try:
            pins[name] = pinning.resolve(name)
            terminal.print(f"{name} is {pins[name]}")
        except Broken as error:
            failures.append(str(error))
            pins |= {name: locked[name]} if name in locked else {}
    if pins != locked:
        disk.write(repo.top / LOCK_FILE, lock_file.text(pins).encode())
        terminal.print(f"Wrote {LOCK_FILE}. Commit it.")
    elif not failures:
        terminal.print("Nothing to pin." if not wanted else f"{LOCK_FILE} is up to date.")
    for failure in failures:
        terminal.error(failure)
    return Exit.FAULT if failures else Exit.WELL
