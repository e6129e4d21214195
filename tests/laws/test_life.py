"""Laws of docs/ARCHITECTURE.md that hold whatever happens: commits, reverts, drift, kills and applies, in any order.

Real repositories, processes, replicas and a real remote; `make soak` lives longer.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmops.domain.digests import Digest
from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState
from llmops.domain.resources import Key
from llmops.host import file_locks
from llmops.ledger import ledger
from llmops.serving import supervised
from tests.conftest import SOAK, Shell, examples
from tests.crashing import PLACES, crash, points
from tests.repos import Repo
from tests.served import MODEL, SETTINGS, assert_nothing_else_runs, chat, content, in_two_steps, running
from tests.trees import spec
from tests.waiting import wait_for

CHAT = Key("Deployment", "chat")


class Life(RuleBasedStateMachine):
    """One repository, from `init` to `stop`."""

    capsys: pytest.CaptureFixture[str]

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="llmops-life-"))
        self.cooked = self.folder / "cooked"
        self.cooked.touch()
        os.environ["COOKED"] = str(self.cooked)
        self.shell = Shell(Repo(self.folder), self.capsys)
        self.repo = self.shell.repo
        self.units: frozenset[Digest] = frozenset()
        self.fence = self.begun = 0
        self.applied: set[str] = set()
        self.repo.commit({"llmops.yaml": SETTINGS, **MODEL} | self.dish("a", "x") | self.dish("b", "x"))
        assert self.shell("init") == Exit.WELL
        self.repo.commit()

    def teardown(self) -> None:
        if hasattr(self, "shell"):
            self.apply()
            assert self.shell("fsck", "-o", "json") == Exit.WELL, self.shell.out
            assert '"findings": []' in self.shell.out
            assert self.shell("stop") == Exit.WELL
            assert_nothing_else_runs(self.shell)
            assert running(self.shell) == set()
            shutil.rmtree(self.folder)

    # What happens.

    @rule(name=st.sampled_from("ab"), text=st.sampled_from("xyz"))
    def edit(self, name: str, text: str) -> None:
        self.repo.commit(self.dish(name, text))

    @rule(tag=st.sampled_from(["one", "two", "three"]))
    def serve(self, tag: str) -> None:
        self.repo.commit({"specs/chat.yaml": in_two_steps(tag)})

    @rule()
    def serve_no_more(self) -> None:
        self.repo.git("rm", "--quiet", "--ignore-unmatch", "specs/chat.yaml")
        self.repo.commit()

    @precondition(lambda self: self.repo.git("rev-list", "--count", "HEAD") != "2")
    @rule()
    def revert(self) -> None:
        self.repo.git("revert", "--no-edit", "HEAD", check=False)
        self.repo.git("commit", "--quiet", "--allow-empty", "--message", "revert of what changed nothing")

    @rule(which=st.sampled_from(["gateway", "replica"]))
    def lose(self, which: str) -> None:
        """A supervisor is killed, and with it the kernel ends what it kept up."""
        runtime = self.repo.workspace().runtime
        found = [runtime / "gateway"] if which == "gateway" else sorted((runtime / "replicas").glob("*"))[:1]
        pids = [pid for folder in found if (pid := file_locks.holder(folder / supervised.LOCK))]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(file_locks.holder(folder / supervised.LOCK) for folder in found))

    @rule(point=st.sampled_from(points(PLACES)), after=st.integers(0, 9))
    def crash(self, point: str, after: int) -> None:
        owed = self.owed()
        crash(self.repo.folder, point, after)
        wait_for(lambda: not any("llmops.steps" in line for line in self.commands()))
        self.assert_only_what_was_owed_was_begun(owed)

    @rule()
    def apply(self) -> None:
        owed, tree = self.owed(), self.repo.git("rev-parse", "HEAD^{tree}")

        assert self.shell("apply") == Exit.WELL, self.shell.err

        self.assert_only_what_was_owed_was_begun(owed)
        assert not (tree in self.applied and owed), "going back was not free"
        self.applied.add(tree)
        self.assert_it_is_as_declared()

    # What always holds.

    @invariant()
    def the_fence_only_rises_and_results_only_grow(self) -> None:
        if not hasattr(self, "shell"):
            return
        state, units = self.state(), ledger.units(self.repo.ledger())
        assert state.fence >= self.fence
        assert units >= self.units
        self.fence, self.units = state.fence, units

    def assert_it_is_as_declared(self) -> None:
        assert self.shell("plan", "--detailed-exitcode") == Exit.WELL, self.shell.out
        assert (self.state().lease, self.state().intents) == (None, {})
        graph = self.repo.desire().graph
        live = self.state().releases.get(str(CHAT))
        assert (live.live if live else "") == (graph[CHAT].digest if CHAT in graph else "")
        if CHAT in graph:
            assert content(chat(self.shell)[1]).startswith(graph[CHAT].spec.body.engine.config["tag"])
        assert_nothing_else_runs(self.shell)

    def assert_only_what_was_owed_was_begun(self, owed: frozenset[Digest]) -> None:
        before, self.begun = self.begun, self.cooked.read_text().count("begin")
        note(f"{self.begun - before} begun, {len(owed)} owed")
        assert self.begun - before <= len(owed), "what was done was made again"

    # What is there.

    @staticmethod
    def dish(name: str, text: str) -> dict[str, str]:
        body = f"{{text: {text}}}" if name == "a" else f"{{text: {text}, of: [a]}}"
        return {f"specs/{name}.yaml": spec("Dish", name, body)}

    def state(self) -> EnvironmentState:
        found = ledger.state(self.repo.ledger())
        assert found is not None
        return found

    def owed(self) -> frozenset[Digest]:
        """Return the dishes of HEAD that were not built yet."""
        nodes = self.repo.desire().graph.nodes
        wanted = {unit.digest for key, node in nodes.items() for unit in node.units if key.kind == "Dish"}
        return frozenset(wanted - ledger.units(self.repo.ledger()))

    def commands(self) -> list[str]:
        return [
            Path(f"/proc/{pid}/cmdline").read_text() for pid in running(self.shell) if Path(f"/proc/{pid}").exists()
        ]


LIVES = settings(
    max_examples=30 if SOAK else examples(4),
    stateful_step_count=20 if SOAK else 8,
    derandomize=not SOAK,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_laws_hold_in_every_life(capsys: pytest.CaptureFixture[str], plugins: Path) -> None:
    Life.capsys = capsys
    run_state_machine_as_test(Life, settings=LIVES)
