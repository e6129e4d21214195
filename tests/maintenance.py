"""What tests of gc, fsck and unlock share: dishes that were cooked, and where their bytes are."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.records import Outcome
from llmops.domain.resources import Key
from llmops.git import refs
from llmops.ledger import ledger
from llmops.store import blobs
from llmops.store.blobs import Store
from tests.conftest import Shell

DAY = 86400.0


def better(shell: Shell, dish: str, text: str) -> str:
    """Change a dish, apply it, and give the commit."""
    file = f"specs/{dish}.yaml"
    old = (shell.repo.folder / file).read_text()
    new = old.replace(f"text: {dish}", f"text: {text}") if f"text: {dish}" in old else f"{old}\n"
    commit = shell.repo.commit({file: new})
    shell.repo.git("push", "--quiet")
    assert shell("apply") == Exit.WELL
    return commit


def kept(shell: Shell) -> Store:
    return blobs.open_at((shell.repo.folder / ".git/llmops/store").absolute().as_uri())


def stored(shell: Shell) -> dict[str, Path]:
    return {one.digest: Path(one.path) for one in blobs.listing(kept(shell)) if one.digest}


def age(shell: Shell, days: float = 30.0) -> None:
    """Make everything that was made look as old as this."""
    then = time.time() - days * DAY
    for path in (shell.repo.folder / ".git/llmops").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))
    where = shell.repo.ledger()
    old = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then))
    files = {
        path: ledger.encode(replace(one, provenance=replace(one.provenance, started=old)))
        for path, one in ((path, ledger.decode(data, Outcome)) for path, data in ledger.entries(where))
    }
    tip = refs.tip(where.at, where.results)
    assert refs.publish(where.at, where.results, tip, refs.write(where.at, files, "older", [tip], over=tip))


def gc(shell: Shell, *options: str) -> Any:
    return shell.json("gc", *options)


def fsck(shell: Shell, *options: str) -> Any:
    shell("fsck", "-o", "json", *options)
    return json.loads(shell.out)


def outcome(shell: Shell, key: Key, revision: str = "HEAD") -> Outcome:
    unit = shell.repo.desire(revision).graph[key].units[0].digest
    found = ledger.outcome(shell.repo.ledger(), unit)
    assert found is not None
    return found


def files_of(shell: Shell, one: Outcome) -> set[str]:
    found = set(one.outputs.values())
    for digest in one.outputs.values():
        found |= {entry.sha256 for entry in blobs.manifest(kept(shell), digest).files.values()}
    return found


def hold(shell: Shell, environment: str, process: str = "") -> None:
    from llmops.domain.records import Lease

    lease = Lease(holder="ci@runner:1", process=process, fence=7, until=time.time() + 500)
    ledger.transact(shell.repo.ledger(environment), lambda state: replace(state, lease=lease, fence=7), "held")
