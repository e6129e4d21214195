"""lock: Fix what moving names stand for.

Looks up branches of the hub, addresses without a digest and built-in tasks that the specs of your folder name, and
writes them into llmops.lock. Names that are locked stay as they are unless you ask for --update.

examples:
  llmops lock                pin what is not pinned yet
  llmops lock --update       look everything up again

Effects: reads the working copy, talks to the network, writes llmops.lock, prints.
"""

from __future__ import annotations

import argparse

from llmops import registry
from llmops.cli.open_repository import open_repository
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Broken, Exit, Invalid
from llmops.git import worktree
from llmops.host import disk
from llmops.kinds import KINDS
from llmops.specs import closures, loading, pinning
from llmops.specs.settings import LOCK_FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--update", action="store_true", help="look up what is locked already, too")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    files = worktree.files(repo)
    parsed = loading.parse(files, registry.PLUGINS)
    locked, problems = loading.read_lock(files)
    if problems:
        raise Invalid(problems)
    declared = [closures.content_of(one, KINDS).spec for one in parsed.drafts.values()]
    wanted = {pin.name for spec in declared for pin in spec.pins if pin.is_moving}
    # A file that cannot be read may name what is locked.
    pins, failed = dict(locked) if parsed.unread else {}, []
    for name in sorted(wanted):
        if name in locked and not arguments.update:
            pins[name] = locked[name]
            continue
        try:
            pins[name] = pinning.resolve(name)
            terminal.say(f"{name} is {pins[name]}")
        except Broken as error:
            failed.append(str(error))
            pins |= {name: locked[name]} if name in locked else {}
    if pins != locked:
        disk.write(repo.top / LOCK_FILE, pinning.text(pins).encode())
        terminal.say(f"Wrote {LOCK_FILE}: commit it.")
    elif not failed:
        terminal.say("Nothing to lock." if not wanted else f"{LOCK_FILE} is up to date.")
    for line in failed:
        terminal.complain(line)
    return Exit.FAULT if failed else Exit.WELL
