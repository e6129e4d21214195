"""gc: Which results does nobody need any more?

Says what could be removed from the store and the work folder, how much that is, and why the rest is kept; --prune
removes it. Kept are all results of HEAD, of main, of the remote's HEAD, and of every commit that an environment was
brought to or can go back to; what open orders read; and everything that was added within the grace period, so that what
is being made is safe. A store may serve several repositories: results that this ledger does not name are kept until
--unknown gives them up. The ledger remembers every result: one that was removed is made again when it is needed.

--prune takes the leases of all environments. It removes nothing when a ledger or a commit that counts cannot be read.
At its end git may pack the small objects of the ledger (`git maintenance run --auto`), as at the end of every apply.

examples:
  llmops gc                          what could be removed
  llmops gc --prune                  remove it
  llmops gc --keep-good 3            of every deployment, go back three revisions at most
  llmops gc --protect release-2      keep the results of another branch, too
  llmops gc --grace 2d -o json

Effects: reads git, fetches the ledger, removes files of the store and the work folder, prints.
"""

from __future__ import annotations

import argparse
import re
import time

from llmops.cli.arguments import amount
from llmops.cli.completers import add_revision
from llmops.cli.options import add_environment, initiator, open_workspace
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Refused
from llmops.environments.workspaces import Workspace
from llmops.git import refs
from llmops.ledger import leases, ledger
from llmops.ledger.ledger import Ledger
from llmops.maintenance import gc_sweep
from llmops.maintenance.gc_mark import RetentionPolicy
from llmops.maintenance.gc_sweep import Survey
from llmops.plugins.fields import DURATION_PATTERN, seconds
from llmops.reports import maintenance

DAY = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prune", action="store_true", help="remove what nobody needs (default: only say it)")
    grace = "keep what was added within this time: 14d, 12h (default: 14d)"
    parser.add_argument("--grace", type=_duration, metavar="TIME", default=14 * DAY, help=grace)
    good = "how many earlier good revisions of each deployment are kept (default: all)"
    parser.add_argument("--keep-good", type=amount, metavar="N", help=good)
    unknown = "also remove results that this ledger does not name; not where repositories share a store"
    parser.add_argument("--unknown", action="store_true", help=unknown)
    protect = "also keep the results of this commit; may be given again"
    add_revision(parser, "--protect", action="append", metavar="REV", default=[], help=protect)
    add_environment(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    places = ledger.environments(workspace.ledger)
    if not places:
        raise Refused(
            "there is no ledger here, so it is not known what is needed, and nothing is removed. "
            "Fetch it if it exists elsewhere; `llmops init` begins a new one."
        )
    for where in places:
        ledger.fetch(where)
    if arguments.prune:
        with leases.all_of(places, initiator("", "gc").actor) as renew:
            found = _survey(workspace, places, arguments)
            gc_sweep.prune(workspace, places, found, renew)
        refs.pack(workspace.ledger.at)
    else:
        found = _survey(workspace, places, arguments)
    if arguments.output == "json":
        terminal.show(maintenance.survey_json(found, pruned=arguments.prune))
    else:
        terminal.say(maintenance.survey(found, pruned=arguments.prune, paint=terminal.paint))
    return Exit.WELL


def _survey(workspace: Workspace, places: tuple[Ledger, ...], arguments: argparse.Namespace) -> Survey:
    ledger.fetch(workspace.ledger)  # under the leases: nobody adds results now, but for gates
    keep = RetentionPolicy(
        now=time.time(),
        grace=arguments.grace,
        protect=tuple(arguments.protect),
        good=arguments.keep_good,
        unknown=not arguments.unknown,
    )
    return gc_sweep.survey(workspace, places, keep)


def _duration(text: str) -> float:
    days, day, rest = text.rpartition("d")
    if not text or (day and not days.isdecimal()) or (rest and not re.fullmatch(DURATION_PATTERN, rest)):
        raise argparse.ArgumentTypeError(f'"{text}" is no time. Write it as 14d, 36h, 30m or 0s.')
    return int(days or 0) * DAY + seconds(rest)
