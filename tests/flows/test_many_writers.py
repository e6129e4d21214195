"""Many writers at once on one real remote: nothing is lost and nothing is done twice.

`make soak` sets LLMOPS_SOAK, by which the amounts are multiplied.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops import ledger
from llmops.problems import Exit
from llmops.records import State
from tests.conftest import ROOT, SOAK, Shell
from tests.repos import Repo
from tests.trees import spec

WRITERS = 8
EACH = 5 * (SOAK or 1)
"""How many transitions each writer makes."""

TRANSITIONS = """
import sys
from pathlib import Path
from msgspec.structs import replace
from llmops import ledger, repository
from llmops.problems import Retry
from llmops.records import Outcome, Provenance
from llmops.settings import LedgerSettings
from llmops.values import Key, digest

writer, each = int(sys.argv[1]), int(sys.argv[2])
where = ledger.locate(repository.discover(Path(".")), LedgerSettings(), "local")
lost = 0
for number in range(each):
    unit = digest([writer, number])
    provenance = Provenance(commit="c", actor="a", run="", started="t", seconds=1.0, environment={})
    made = Outcome(
        unit=unit, key=Key("Dish", "d"), part="", step="s", outputs={}, metrics={}, provenance=provenance
    )
    while True:
        try:
            ledger.transact(where, lambda state: replace(state, consumed=(*state.consumed, unit)), "count")
            break
        except Retry:
            lost += 1
    while True:
        try:
            ledger.record(where, [made], "made")
            break
        except Retry:
            lost += 1
print(lost)
"""


def run(script: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_no_transition_of_many_writers_is_lost(
    repo: Repo, llmops: Shell, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    assert llmops("init") == Exit.WELL
    clones = [repo.clone(tmp_path / f"clone{number}") for number in range(WRITERS)]
    for clone in clones:
        ledger.fetch(clone.ledger())
    started = time.monotonic()
    writers = [run(TRANSITIONS, clone.folder, str(n), str(EACH)) for n, clone in enumerate(clones)]
    said = [writer.communicate() for writer in writers]
    took = time.monotonic() - started

    assert [writer.returncode for writer in writers] == [0] * WRITERS, said
    record_property("transitions", 2 * WRITERS * EACH)
    record_property("seconds", round(took, 1))
    record_property("given up and begun again", sum(int(out) for out, _ in said))
    where = repo.ledger()
    ledger.fetch(where)
    state = ledger.state(where) or State()
    assert len(state.consumed) == len(set(state.consumed)) == WRITERS * EACH
    assert ledger.units(where) == set(state.consumed)


APPLY = """
import sys
import llmops.kinds
llmops.kinds.__path__.append({kinds!r})
from llmops import cli
from llmops.problems import Exit
for _ in range(200):
    code = cli.main(["-C", ".", "apply"])
    if code not in (Exit.STALE, Exit.HELD):
        break
sys.exit(code)
"""


def test_many_reconcilers_do_everything_once(repo: Repo, llmops: Shell, plugins: Path, tmp_path: Path) -> None:
    """Eight clones apply the same commit at once, with one store and one folder of work."""
    amount = 3 * EACH
    shared = f"{{store: {{url: 'file://{tmp_path}/store'}}, runner: {{work: '{tmp_path}/work', parallel: 2}}}}"
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {shared}\n"
    repo.commit(
        {"llmops.yaml": settings} | {f"specs/d{n}.yaml": spec("Dish", f"d{n}", f"text: t{n}") for n in range(amount)}
    )
    assert llmops("init") == Exit.WELL
    repo.commit()
    repo.git("push", "--quiet", "origin", "main")
    clones = [repo.clone(tmp_path / f"clone{number}") for number in range(WRITERS)]

    script = APPLY.format(kinds=str(ROOT / "tests" / "plugins" / "kinds"))
    writers = [run(script, clone.folder) for clone in clones]
    said = [writer.communicate() for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * WRITERS, said[0]
    begun = [line.split()[1] for line in plugins.read_text().splitlines() if line.startswith("begin")]
    assert sorted(begun) == sorted(f"Dish/d{n}" for n in range(amount))
    assert llmops("apply", "-o", "json") == Exit.WELL
    assert json.loads(llmops.out)["plan"]["actions"] == []
    state = ledger.state(repo.ledger()) or State()
    assert (state.lease, state.intents) == (None, {})
    assert llmops("fsck") == Exit.WELL, llmops.out
