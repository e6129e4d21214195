"""Each folder in golden/ is two trees and the plan between them, as a person reads it.

``UPDATE_GOLDEN=1 pytest tests/unit/test_golden.py`` writes the plans; read them before you commit.
"""

import os
from pathlib import Path

import pytest

from llmops import registry
from llmops.domain.records import EnvironmentState, Release, Revision, Standing
from llmops.domain.resources import Key
from llmops.index.commits import Desired
from llmops.planning import plan
from llmops.planning.plan import PlanOrigin
from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.releases.rollouts import Observed
from llmops.reports.formats.plan import REPORTS
from llmops.specs import diff
from llmops.specs.settings import Settings
from tests.trees import Tree, build, current, system

CASES = sorted(path for path in (Path(__file__).parent.parent / "golden").iterdir() if path.is_dir())
CHAT = Key("Deployment", "chat")


def overlay(folder: Path) -> Tree:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    gone = [path.removesuffix(".gone") for path in files if path.endswith(".gone")]
    return Tree({**system(), **{path: data for path, data in files.items() if not path.endswith(".gone")}}).without(
        *gone
    )


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
@pytest.mark.parametrize(("form", "ending"), [("text", "txt"), ("md", "md")])
def test_a_plan_reads_as_agreed(case: Path, form: str, ending: str) -> None:
    before, after = build(overlay(case / "before")), build(overlay(case / "after"))
    live = before[CHAT].digest
    known = {live: Revision(commit="b" * 40, standing=Standing.GOOD, since="2026-01-01T00:00:00Z")}
    if (case / "was-good").exists():
        known[after[CHAT].digest] = Revision(commit="a" * 40, standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    world = current(
        frozenset(
            unit.digest
            for graph in ([before, after] if len(known) > 1 else [before])
            for n in graph.nodes.values()
            for unit in n.units
        ),
        EnvironmentState(releases={str(CHAT): Release(live=live, revisions=known)}, commit="b" * 40),
        {CHAT: Observed(ready=dict.fromkeys(known, 1), weights={live: 100})},
    )
    made = plan.make(
        diff.compare(before, after), after, registry.PLUGINS, world, PlanOrigin("c" * 40, "b" * 40, "local")
    )
    estimates = {action.unit: 90.0 for action in made.actions if action.key.kind == "Training"}
    desired = Desired("c" * 40, overlay(case / "after"), Settings(), after)  # type: ignore[arg-type]
    proposal = Proposal(plan=made, old=before, desired=desired, estimates=estimates)

    text = REPORTS[form](proposal, ReportContext())
    agreed = case / f"plan.{ending}"
    if os.environ.get("UPDATE_GOLDEN"):
        agreed.write_text(text)
    assert text == agreed.read_text()
