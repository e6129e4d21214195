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

from llmops import integrity, ledger
from llmops.cli.arguments import add_output
from llmops.cli.common import add_environment, add_offline, open_site
from llmops.cli.terminal import Terminal
from llmops.integrity import How
from llmops.problems import Exit, Refused
from llmops.refs import Refs
from llmops.reports import upkeep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="do not read the files, only compare their sizes")
    parser.add_argument("--repair", action="store_true", help="remove what is of no use")
    add_environment(parser)
    add_offline(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    where = (site := open_site(arguments)).ledger
    if arguments.offline:
        site = replace(site, ledger=replace(where, at=Refs(where.at.repo, "")))
    places = ledger.environments(site.ledger)
    if not places:
        raise Refused("there is no ledger here. Fetch it if it exists elsewhere; `llmops init` begins a new one.")
    for one in places:
        ledger.fetch(one)
    how = How(now=time.time(), quick=arguments.quick, repair=arguments.repair)
    found = integrity.examine(site, places, how, terminal.tell)
    if arguments.output == "json":
        terminal.show(upkeep.examined_json(found))
    else:
        terminal.say(upkeep.examined(found, terminal.paint))
    return Exit.WELL if found.is_clean else Exit.NO
