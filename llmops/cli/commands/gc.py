"""gc: List unused results; delete them with --prune.

Lists what can be removed from the store and the work folder, its size, and why the rest is kept. Kept are all results
of HEAD, of main, of the remote's HEAD, and of every commit that an environment was brought to or can go back to; inputs
of open orders; and everything that was added within the grace period. A store may serve several repositories, so
results that this ledger does not name are kept, too, unless --unknown is given. The ledger keeps its records: a result
that was removed is rebuilt when it is needed.

--prune takes the leases of all environments, and removes nothing if a ledger or a commit that counts cannot be read. At
its end git may pack the objects of the ledger (`git maintenance run --auto`), as after every apply.

examples:
  llmops gc                          list what can be removed
  llmops gc --prune                  remove it
  llmops gc --keep-good 3            keep three earlier revisions of every deployment
  llmops gc --protect release-2      also keep the results of another branch
  llmops gc --grace 2d -o json

Effects: reads git, fetches the ledger, removes files of the store and the work folder, prints.
"""

import argparse
import re
import time

from llmops.api import opening
from llmops.cli.arguments import amount
from llmops.cli.completers import add_revision
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_environment, add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Refused
from llmops.environments.workspaces import Workspace
from llmops.git import refs
from llmops.ledger import leases, ledger
from llmops.ledger.ledger import Ledger
from llmops.maintenance import gc_sweep
from llmops.maintenance.gc_mark import RetentionPolicy
from llmops.maintenance.gc_sweep import Survey
from llmops.plugins.fields import seconds
from llmops.reports import maintenance

DAY = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prune", action="store_true", help="remove unused results (default: only list them)")
    grace = "keep everything that was added within this time: 14d, 12h (default: 14d)"
    parser.add_argument("--grace", type=_duration, metavar="TIME", default=14 * DAY, help=grace)
    good = "how many earlier good revisions of each deployment are kept (default: all)"
    parser.add_argument("--keep-good", type=amount, metavar="N", help=good)
    unknown = "also remove results that this ledger does not name; not for a store that other repositories use"
    parser.add_argument("--unknown", action="store_true", help=unknown)
    protect = "also keep the results of this commit; repeatable"
    add_revision(parser, "--protect", action="append", default=[], help=protect)
    add_environment(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    workspace = open_workspace(arguments)
    ledgers = ledger.environments(workspace.ledger)
    if not ledgers:
        raise Refused(
            "there is no ledger here, so llmops cannot tell which results are used, and removes nothing. "
            "Fetch it if it exists elsewhere; create one with `llmops init`."
        )
    for each in ledgers:
        ledger.fetch(each)
    if arguments.prune:
        with leases.take_all(ledgers, opening.initiator("", "gc").actor) as renew:
            survey = _survey(workspace, ledgers, arguments)
            gc_sweep.prune(workspace, ledgers, survey, renew)
        refs.pack(workspace.ledger.at)
    else:
        survey = _survey(workspace, ledgers, arguments)
    terminal.result(
        maintenance.gc_json(survey, pruned=arguments.prune),
        lambda: maintenance.gc_text(survey, pruned=arguments.prune, paint=terminal.paint),
    )


def _survey(workspace: Workspace, ledgers: tuple[Ledger, ...], arguments: argparse.Namespace) -> Survey:
    ledger.fetch(workspace.ledger)  # under the leases only a gate can still add results
    policy = RetentionPolicy(
        now=time.time(),
        grace=arguments.grace,
        protect=tuple(arguments.protect),
        good=arguments.keep_good,
        unknown=not arguments.unknown,
    )
    return gc_sweep.survey(workspace, ledgers, policy)


def _duration(text: str) -> float:
    days = re.match("([0-9]+)d", text)
    rest = text[days.end() :] if days else text
    try:
        return (int(days[1]) * DAY if days else 0) + (seconds(rest) if rest or not days else 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a time. Use 14d, 36h, 30m or 0s') from None
