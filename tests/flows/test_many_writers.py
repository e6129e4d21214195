"""Many writers at once on one real remote: nothing is lost and nothing is done twice.

`make soak` sets LLMOPS_SOAK, by which the amounts are multiplied.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState
from llmops.git import refs
from llmops.ledger import ledger
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
from llmops.git import repository
from llmops.ledger import ledger
from llmops.domain.problems import Retry
from llmops.domain.records import Outcome, Provenance
from llmops.specs.settings import LedgerSettings
from llmops.domain.digests import digest
from llmops.domain.resources import Key

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
    state = ledger.state(where) or EnvironmentState()
    assert len(state.consumed) == len(set(state.consumed)) == WRITERS * EACH
    assert ledger.units(where) == set(state.consumed)


RECONCILE = """
import random, subprocess, sys, time
from pathlib import Path
import llmops.kinds
llmops.kinds.__path__.append({kinds!r})
from llmops import cli
from llmops.domain.problems import Exit
while True:
    subprocess.run(["git", "pull", "--quiet", "--ff-only"], check=True)
    code = cli.main(["-C", ".", "--quiet", "apply"])
    if code not in (Exit.WELL, Exit.STALE, Exit.HELD):
        sys.exit(code)
    at = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    if code == Exit.WELL and at == Path({last!r}).read_text():
        break
    time.sleep(random.uniform(0.2, 1.0))
"""
DISHES = 3
"""How many dishes every commit brings."""


@pytest.mark.timeout(3600)
def test_many_reconcilers_do_everything_once(
    repo: Repo, llmops: Shell, plugins: Path, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    """Eight clones follow one branch, with one store and one folder of work, and the lease goes from one to another."""
    shared = f"{{store: {{url: 'file://{tmp_path}/store'}}, runner: {{work: '{tmp_path}/work', parallel: 2}}}}"
    llmops.begin({"llmops.yaml": f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {shared}\n"})
    repo.git("push", "--quiet", "origin", "main")
    (tmp_path / "last").touch()
    script = RECONCILE.format(kinds=str(ROOT / "tests" / "plugins" / "kinds"), last=str(tmp_path / "last"))
    clones = [repo.clone(tmp_path / f"clone{number}") for number in range(WRITERS)]
    writers = [run(script, clone.folder) for clone in clones]

    names = [f"d{number}" for number in range(DISHES * EACH)]
    for first in range(0, len(names), DISHES):
        commit = repo.commit({f"specs/{n}.yaml": spec("Dish", n, f"text: {n}") for n in names[first : first + DISHES]})
        repo.git("push", "--quiet")
        wait_for(lambda made=first + DISHES: plugins.read_text().count("done") >= made, writers)
    (tmp_path / "last").write_text(commit)
    said = [writer.communicate() for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * WRITERS, said
    begun = [line.split()[1] for line in plugins.read_text().splitlines() if line.startswith("begin")]
    assert sorted(begun) == sorted(f"Dish/{name}" for name in names)
    llmops.is_clean()
    where = repo.ledger()
    written = [int(repo.git("rev-list", "--count", "--first-parent", ref)) for ref in where.refs]
    states = [refs.read(where.at, version.commit, ledger.STATE_FILE) or b"" for version in ledger.state_history(where)]
    holders = {msgspec.json.decode(state)["lease"]["holder"] for state in states if b"holder" in state}
    record_property("transitions", sum(written))
    record_property("holders", len(holders))
    assert len(holders) > 1
    assert sum(written) > (1000 if SOAK else 0)


def wait_for(what: Callable[[], bool], writers: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        assert all(writer.poll() is None for writer in writers), [w.communicate() for w in writers if w.poll()]
        time.sleep(0.1)
