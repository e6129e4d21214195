"""fsck: Verify the ledger and every file of the store.

Reads every file of the store and compares its digest with its name, checks that every result of the ledger is complete,
and that the history of the ledger is valid: results are only added, and the fence of an environment never falls. A
result with missing files is a note, because it is rebuilt when it is needed; it is a problem if it is live. Exits 1 if
there is a problem.

--repair removes files whose digest is not their name, files of interrupted writes, and stale locks of git refs. It
never changes history.

examples:
  llmops fsck
  llmops fsck --quick        compare only sizes
  llmops fsck --repair       remove damaged files; the next apply rebuilds what is missing
  llmops fsck -o json | jq '.findings[] | select(.grade == "problem")'

Effects: reads git, fetches the ledger, reads the store, removes damaged files, prints.
"""

import argparse
import time

from msgspec.structs import replace

from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_read_options
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
    parser.add_argument("--quick", action="store_true", help="compare sizes only, without reading the files")
    parser.add_argument("--repair", action="store_true", help="remove damaged files and stale locks")
    add_read_options(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments, offline=True)
    at = workspace.ledger.at
    local = replace(workspace.ledger, at=replace(at, remote="")) if arguments.offline else workspace.ledger
    ledgers = ledger.environments(local)
    if not ledgers:
        raise Refused("there is no ledger here. Fetch it if it exists elsewhere; create one with `llmops init`.")
    options = FsckOptions(now=time.time(), seal=at.seal, quick=arguments.quick, repair=arguments.repair)
    doubts = tuple(dict.fromkeys(doubt for each in ledgers if (doubt := _fetch(each))))
    unsealed = [_unsealed(each) for each in ledgers]
    report = fsck.check(replace(workspace, ledger=_unsealed(local)), unsealed, options, terminal.emit, doubts)
    terminal.result(maintenance.fsck_json(report), lambda: maintenance.fsck_text(report, terminal.paint))
    return Exit.WELL if report.is_clean else Exit.NO


def _fetch(where: Ledger) -> Finding | None:
    """Fetch a ledger; a remote ledger without a valid signature is a finding, and is not merged."""
    try:
        ledger.fetch(where)
    except Refused as error:
        remedy = "It was not fetched; the local ledger was checked."
        return Finding(grade=Severity.PROBLEM, where=where.at.remote or "here", what=str(error), remedy=remedy)
    return None


def _unsealed(where: Ledger) -> Ledger:
    """Drop the signing policy, so that a ledger without a valid signature is still read."""
    return replace(where, at=replace(where.at, seal=UNSIGNED))
