"""fsck: Is everything that was made still there, and what it says?

Reads every file of the store and compares it with its name, looks whether every result of the ledger is whole, and
whether the history of the ledger is llmops' own: results only added, the fence of an environment never falling. A
result whose bytes are gone is a note, because it is made again when it is needed, and a problem when it is live. Exits
1 when there is a problem.

--repair removes what is of no use: files that do not have the bytes of their name, writes that were broken off, and
locks of refs that a git left behind. It never touches history.

examples:
  llmops fsck
  llmops fsck --quick        only whether all is there and as long as it should be
  llmops fsck --repair       remove what is of no use; the next apply makes what is missing
  llmops fsck -o json | jq '.findings[] | select(.grade == "problem")'

Effects: reads git, fetches the ledger, reads the store, removes useless files, prints.
"""

from __future__ import annotations

import argparse
import time

from msgspec.structs import replace

from llmops.cli.open_repository import open_repository, settings_at
from llmops.cli.options import add_environment, add_offline, locate
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Refused
from llmops.git.signatures import UNSIGNED
from llmops.ledger import ledger
from llmops.ledger.history import Finding, Severity
from llmops.ledger.ledger import Ledger
from llmops.maintenance import fsck
from llmops.maintenance.fsck import FsckOptions
from llmops.reports import maintenance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="do not read the files, only compare their sizes")
    parser.add_argument("--repair", action="store_true", help="remove what is of no use")
    add_environment(parser)
    add_offline(parser)
    add_output(parser)


def _fetched(where: Ledger) -> Finding | None:
    """Bring a ledger up to the remote's; of one that is not believed nothing is taken, and that is a finding."""
    try:
        ledger.fetch(where)
    except Refused as error:
        remedy = "Nothing of it was taken: what is here was looked at."
        return Finding(grade=Severity.PROBLEM, where=where.remote or "here", what=str(error), remedy=remedy)
    return None


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    workspace = locate(arguments, repo, settings_at(repo, "HEAD"))
    at = workspace.ledger.at
    known = replace(workspace.ledger, at=replace(at, remote="")) if arguments.offline else workspace.ledger
    places = ledger.environments(known)
    if not places:
        raise Refused("there is no ledger here. Fetch it if it exists elsewhere; `llmops init` begins a new one.")
    how = FsckOptions(now=time.time(), seal=at.seal, quick=arguments.quick, repair=arguments.repair)
    doubts = tuple(dict.fromkeys(doubt for one in places if (doubt := _fetched(one))))
    read = [replace(one, at=replace(one.at, seal=UNSIGNED)) for one in places]  # what is not believed is looked at, too
    seen = replace(workspace, ledger=replace(known, at=replace(known.at, seal=UNSIGNED)))
    found = fsck.check(seen, read, how, terminal.emit, doubts)
    if arguments.output == "json":
        terminal.show(maintenance.examined_json(found))
    else:
        terminal.say(maintenance.examined(found, terminal.paint))
    return Exit.WELL if found.is_clean else Exit.NO
