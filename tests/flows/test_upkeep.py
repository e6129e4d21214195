"""gc, fsck and unlock, on real repositories, stores and processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.orders import Order, Previous
from llmops.domain.problems import Broken, Exit, Retry
from llmops.domain.records import EnvironmentState, Intent, Outcome
from llmops.domain.resources import Key
from llmops.git import refs
from llmops.host import file_locks
from llmops.ledger import leases, ledger
from llmops.store import blobs
from llmops.store.blobs import Store
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

DAY = 86400.0
SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gateway: {port: 0, drain: 2s}}\n"


class Copies:
    """Repositories that took long to make: made once, and copied for each test."""

    def __init__(self) -> None:
        self._made: dict[str, Path] = {}

    def give(self, name: str, repo: Repo, make: Callable[[], None], spare: Path) -> None:
        """Make what a name stands for in a repository, or put a copy of it there."""
        if name in self._made:
            for part in ("work", "remote.git"):
                shutil.rmtree(repo.folder.parent / part)
                shutil.copytree(self._made[name] / part, repo.folder.parent / part)
            repo.git("remote", "set-url", "origin", str(repo.remote))
            return
        make()
        for part in ("work", "remote.git"):
            shutil.copytree(repo.folder.parent / part, spare / part)
        self._made[name] = spare


@pytest.fixture(scope="module")
def copies() -> Copies:
    return Copies()


@pytest.fixture
def kitchen(repo: Repo, llmops: Shell, copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Three dishes that were made."""

    def make() -> None:
        repo.commit(
            {
                "specs/flour.yaml": spec("Dish", "flour", "text: flour"),
                "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}"),
                "specs/bread.yaml": spec("Dish", "bread", "{text: bread, of: [dough]}"),
            }
        )
        repo.git("push", "--quiet")
        assert llmops("init") == Exit.WELL
        assert llmops("apply") == Exit.WELL

    copies.give("kitchen", repo, make, tmp_path_factory.mktemp("kitchen"))
    return llmops


@pytest.fixture
def changed(kitchen: Shell, copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The same a month after HEAD changed two of them."""

    def make() -> None:
        better(kitchen, "dough", "sourdough")
        age(kitchen)

    copies.give("changed", kitchen.repo, make, tmp_path_factory.mktemp("changed"))
    return kitchen


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
        path: ledger._encode(replace(one, provenance=replace(one.provenance, started=old)))
        for path, one in ((path, ledger.decode(data, Outcome)) for path, data in ledger.entries(where))
    }
    tip = refs.tip(where.at, where.results)
    assert refs.publish(where.at, where.results, tip, refs.write(where.at, files, "older", [tip], over=tip))


def gc(shell: Shell, *options: str) -> Any:
    assert shell("gc", "-o", "json", *options) == Exit.WELL, shell.err
    return json.loads(shell.out)


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


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


# gc: what goes and what stays


def test_a_dry_run_says_what_goes_and_why_the_rest_stays_and_removes_nothing(changed: Shell) -> None:
    before = outcome(changed, Key("Dish", "bread"), "HEAD~1")
    there = stored(changed)

    assert changed("gc") == Exit.WELL

    assert "Dish/bread" in changed.out
    assert "HEAD" in changed.out
    assert "Nothing was removed. Remove it: `llmops gc --prune`." in changed.out
    assert stored(changed) == there
    assert files_of(changed, before) <= there.keys()


def test_what_no_commit_that_counts_needs_is_removed_and_nothing_else(changed: Shell) -> None:
    old = [files_of(changed, outcome(changed, Key("Dish", name), "HEAD~1")) for name in ("dough", "bread")]
    better(changed, "dough", "sourdough")
    new = [files_of(changed, outcome(changed, Key("Dish", name))) for name in ("flour", "dough", "bread")]
    age(changed)

    found = gc(changed, "--prune")

    assert stored(changed).keys() == set().union(*new)
    assert {one["digest"] for one in found["blobs"]} == set().union(*old)
    assert {one["what"] for one in found["garbage"]} == {"Dish/dough", "Dish/bread"}
    assert found["bytes"] > 0
    assert changed("fsck") == Exit.WELL


def test_what_was_removed_is_made_again_when_it_is_needed(changed: Shell, plugins: Path) -> None:
    gc(changed, "--prune")
    plugins.write_text("")
    changed.repo.git("revert", "--no-edit", "HEAD")
    changed.repo.commit({"specs/toast.yaml": spec("Dish", "toast", "{text: toast, of: [bread]}")})

    assert changed("apply") == Exit.WELL

    made = [line.split()[1] for line in plugins.read_text().splitlines() if line.startswith("done")]
    assert made == ["Dish/dough", "Dish/bread", "Dish/toast"]


def test_what_is_younger_than_the_grace_period_is_kept(changed: Shell) -> None:
    age(changed, days=3)
    there = stored(changed)

    young = gc(changed, "--prune")
    assert young["blobs"] == []
    assert "younger than the grace period" in {one["what"] for one in young["kept"]}
    assert stored(changed) == there

    assert gc(changed, "--prune", "--grace", "2d")["blobs"] != []


def test_bytes_that_are_added_again_count_as_new(changed: Shell) -> None:
    digest = gc(changed)["blobs"][-1]["digest"]

    blobs.add_bytes(kept(changed), blobs.read(kept(changed), digest))

    assert digest not in {one["digest"] for one in gc(changed, "--prune")["blobs"]}
    assert digest in stored(changed)


def test_results_of_a_protected_commit_are_kept(changed: Shell, plugins: Path) -> None:
    first = changed.repo.git("rev-parse", "HEAD~1")
    plugins.write_text("")

    assert gc(changed, "--prune", "--protect", first)["blobs"] == []

    changed.repo.git("revert", "--no-edit", "HEAD")
    assert changed("apply") == Exit.WELL
    assert plugins.read_text() == ""


def test_the_head_of_the_remote_is_kept_whoever_pushed_it(changed: Shell, tmp_path: Path) -> None:
    changed.repo.git("reset", "--quiet", "--hard", "HEAD~1")
    assert changed("apply", "--allow-older") == Exit.WELL

    assert gc(changed, "--prune")["blobs"] == []

    other = changed.repo.clone(tmp_path / "other")
    other.commit({"specs/rye.yaml": spec("Dish", "rye", "text: rye")})
    other.git("push", "--quiet")
    assert changed("gc", "--prune") == Exit.NO
    assert "HEAD of origin) is not in this clone" in changed.err
    assert "git fetch" in changed.err


def test_what_another_environment_was_brought_to_is_kept(changed: Shell) -> None:
    changed("init", "-e", "production")
    where = changed.repo.ledger("production")
    before = changed.repo.git("rev-parse", "HEAD~1")
    ledger.transact(where, lambda state: replace(state, commit=before), "applied")

    found = gc(changed, "--prune")

    assert found["blobs"] == []
    assert "applied to production" in {one["why"] for one in found["roots"]}
    ledger.transact(where, lambda state: replace(state, commit=""), "begun anew")
    assert gc(changed, "--prune")["blobs"] != []


def test_an_environment_that_only_the_remote_knows_of_counts(changed: Shell, tmp_path: Path) -> None:
    clone = changed.repo.clone(tmp_path / "other")
    assert Shell(clone, changed.capsys)("init", "-e", "production") == Exit.WELL
    elsewhere = clone.commit()
    where = clone.ledger("production")
    ledger.transact(where, lambda state: replace(state, commit=elsewhere), "applied")
    there = stored(changed)

    assert changed("gc", "--prune") == Exit.NO

    assert "(applied to production) is not in this clone" in changed.err
    assert stored(changed) == there


def order_of(shell: Shell, dish: str, revision: str) -> Path:
    return shell.repo.workspace().work / f"dish-{dish}-{outcome(shell, Key('Dish', dish), revision).unit[:12]}"


def test_orders_that_ended_and_that_nobody_needs_go_and_the_others_stay(changed: Shell) -> None:
    there = set(changed.repo.workspace().work.glob("dish-*"))
    old = {order_of(changed, dish, "HEAD~1") for dish in ("dough", "bread")}

    found = gc(changed, "--prune")

    assert {one["name"] for one in found["folders"]} == {path.name for path in old}
    assert set(changed.repo.workspace().work.glob("dish-*")) == there - old


def test_an_order_that_a_process_does_is_never_removed(changed: Shell) -> None:
    busy = order_of(changed, "bread", "HEAD~1")
    (busy / orders.OUTCOME).unlink()
    held = file_locks.take(busy / orders.LOCK)
    assert held is not None

    with held:
        found = gc(changed, "--prune")

    assert busy.name not in {one["name"] for one in found["folders"]}
    assert busy.exists()


def intend(shell: Shell, intent: Intent) -> None:
    ledger.transact(
        shell.repo.ledger(), lambda state: replace(state, intents={intent.name: intent}), f"intent: {intent.name}"
    )


def intent(shell: Shell, name: str, at: float, unit: str = "0" * 64, commit: str = "HEAD") -> Intent:
    said = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    key = Key("Dish", "bread")
    commit = shell.repo.git("rev-parse", commit)
    return Intent(name=name, keys=(key,), units=(unit,), purpose="gate", commit=commit, at=said)


def test_what_an_open_order_reads_is_kept(changed: Shell) -> None:
    folder = order_of(changed, "bread", "HEAD~1")
    reads = files_of(changed, outcome(changed, Key("Dish", "dough"), "HEAD~1"))
    intend(changed, intent(changed, folder.name, time.time()))

    found = gc(changed, "--prune")

    assert reads <= stored(changed).keys()
    assert folder.exists()
    assert f"order {folder.name} is open" in {one["what"] for one in found["kept"]}


def test_what_an_open_order_goes_on_from_is_kept(changed: Shell) -> None:
    """Evidence of another commit, of which a judge's rulings hold still, and evidence that grows."""
    folder = order_of(changed, "bread", "HEAD")
    earlier, grown = (outcome(changed, Key("Dish", dish), "HEAD~1") for dish in ("dough", "bread"))
    order = msgspec.json.decode((folder / orders.ORDER).read_bytes(), type=Order)
    job = replace(order.jobs[0], alike=(earlier.outputs,), previous=Previous(outputs=grown.outputs))
    (folder / orders.ORDER).write_bytes(orders.encode(replace(order, jobs=(job,))))
    intend(changed, intent(changed, folder.name, time.time()))

    gc(changed, "--prune")

    assert files_of(changed, earlier) | files_of(changed, grown) <= stored(changed).keys()


def test_an_open_order_of_another_machine_keeps_what_its_commit_declares(changed: Shell) -> None:
    reads = files_of(changed, outcome(changed, Key("Dish", "dough"), "HEAD~1"))
    intend(changed, intent(changed, "dish-cake-0123456789ab", time.time(), commit="HEAD~1"))

    gc(changed, "--prune")

    assert reads <= stored(changed).keys()


def test_an_intent_that_nobody_will_take_up_again_keeps_nothing_and_is_forgotten(kitchen: Shell) -> None:
    done = outcome(kitchen, Key("Dish", "bread")).unit
    intend(kitchen, intent(kitchen, "dish-bread-0123456789ab", time.time(), done))
    assert "stale" in fsck(kitchen)["findings"][0]["what"]

    assert gc(kitchen, "--prune")["intents"] == {"local": ["dish-bread-0123456789ab"]}

    state = ledger.state(kitchen.repo.ledger())
    assert state is not None
    assert (state.intents, state.lease) == ({}, None)


def test_an_object_store_is_swept_as_well(repo: Repo, llmops: Shell) -> None:
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {store: {url: 'memory://upkeep'}}\n"
    repo.commit({"llmops.yaml": settings})
    llmops("init")
    there = blobs.open_at("memory://upkeep")
    digest = blobs.add_bytes(there, b"nobody needs this")

    assert gc(llmops, "--prune")["blobs"] == []
    time.sleep(0.02)
    assert [one["digest"] for one in gc(llmops, "--prune", "--grace", "0s")["blobs"]] == [digest]
    assert list(blobs.listing(there)) == []


def test_results_of_another_repository_in_the_same_store_are_kept(changed: Shell, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model").write_text("made elsewhere")
    digest = blobs.add_folder(kept(changed), tmp_path / "theirs")
    then = time.time() - 30 * DAY
    for path in stored(changed).values():
        os.utime(path, (then, then))

    found = gc(changed, "--prune")

    assert blobs.complete(kept(changed), digest)
    assert any("perhaps of another repository" in one["what"] for one in found["kept"])
    assert len(gc(changed, "--prune", "--unknown")["blobs"]) == 2
    assert not blobs.has(kept(changed), digest)


# gc: when it refuses


def test_nothing_is_removed_while_another_run_holds_the_lease_of_any_environment(changed: Shell) -> None:
    changed("init", "-e", "production")
    there = stored(changed)
    hold(changed, "production")

    assert changed("gc", "--prune") == Exit.HELD

    assert "ci@runner:1 is applying" in changed.err
    assert stored(changed) == there
    state = ledger.state(changed.repo.ledger())
    assert state is not None
    assert state.lease is None, "the lease of the first environment was not given back"
    assert changed("gc") == Exit.WELL


def hold(shell: Shell, environment: str, process: str = "") -> None:
    from llmops.domain.records import Lease

    lease = Lease(holder="ci@runner:1", process=process, fence=7, until=time.time() + 500)
    ledger.transact(shell.repo.ledger(environment), lambda state: replace(state, lease=lease, fence=7), "held")


def test_nothing_is_removed_without_a_ledger(kitchen: Shell) -> None:
    there = stored(kitchen)
    kitchen.repo.git("remote", "remove", "origin")
    for ref in kitchen.repo.git("for-each-ref", "--format=%(refname)", "refs/llmops").split():
        kitchen.repo.git("update-ref", "-d", ref)

    assert kitchen("gc", "--prune", "--grace", "0s") == Exit.NO
    assert "cannot tell which results are used" in kitchen.err
    assert stored(kitchen) == there


def test_nothing_is_removed_when_the_results_are_missing(kitchen: Shell) -> None:
    there = stored(kitchen)
    kitchen.repo.git("remote", "remove", "origin")
    kitchen.repo.git("update-ref", "-d", "refs/llmops/results")

    assert kitchen("gc", "--prune", "--grace", "0s") == Exit.NO
    assert "is incomplete here" in kitchen.err
    assert stored(kitchen) == there


def test_nothing_is_removed_when_a_commit_that_counts_is_not_valid(kitchen: Shell) -> None:
    age(kitchen)
    there = stored(kitchen)
    kitchen.repo.commit({"specs/flour.yaml": spec("Dish", "flour", "txt: oops")})

    assert kitchen("gc", "--prune") == Exit.NO
    assert "(HEAD) are invalid" in kitchen.err
    assert '"text" is missing' in kitchen.err
    assert stored(kitchen) == there


@pytest.mark.parametrize("grace", ["", "5", "two weeks", "-1d", "1d5"])
def test_a_grace_period_that_is_no_time_is_wrong_usage(kitchen: Shell, grace: str) -> None:
    assert kitchen("gc", f"--grace={grace}") == Exit.USAGE
    assert "Use 14d" in kitchen.err


# gc and releases

MODEL = {
    "models/m/config.json": "{}",
    "models/m/model.safetensors": "one",
    "specs/model.yaml": spec("Model", "m", "source: {path: models/m}\nstage: approved"),
}


def deployment(tag: str) -> str:
    engine = f"engine: {{type: echo, config: {{tag: '{tag}'}}}}"
    body = f"model: m\n{engine}\nstrategy: {{canary: {{steps: []}}}}\nprogress_deadline: 15s\n"
    return spec("Deployment", "chat", f"{body}keep_warm: {{revisions: 0}}")


@pytest.fixture
def stage(repo: Repo, llmops: Shell) -> Iterator[Shell]:
    repo.commit({"llmops.yaml": SETTINGS, **MODEL, "specs/chat.yaml": deployment("one ")})
    repo.git("push", "--quiet")
    assert llmops("init") == Exit.WELL
    assert llmops("apply") == Exit.WELL
    yield llmops
    llmops("stop")


@pytest.fixture
def thrice(stage: Shell) -> Shell:
    """Two more revisions, each with a model of its own."""
    for number in ("two", "three"):
        stage.repo.commit({"models/m/model.safetensors": number, "specs/chat.yaml": deployment(f"{number} ")})
        stage.repo.git("push", "--quiet")
        assert stage("apply") == Exit.WELL
    age(stage)
    return stage


def test_where_everything_is_needed_gc_says_so(kitchen: Shell) -> None:
    assert kitchen("apply") == Exit.WELL

    assert kitchen("gc") == Exit.WELL
    assert kitchen.out.splitlines()[0] == "Nothing is unused."
    assert "`llmops gc --prune`" not in kitchen.out


def test_going_back_after_a_gc_makes_nothing(thrice: Shell) -> None:
    gc(thrice, "--prune")
    before = ledger.units(thrice.repo.ledger())
    tip = ledger.tips(thrice.repo.ledger())[0]
    thrice.repo.git("revert", "--no-edit", "HEAD")

    assert thrice("plan", "-o", "json") == Exit.WELL
    assert [one["verb"] for one in json.loads(thrice.out)["actions"]] == ["rollback"]
    assert thrice("apply") == Exit.WELL

    assert (ledger.units(thrice.repo.ledger()), ledger.tips(thrice.repo.ledger())[0]) == (before, tip)


def test_fewer_good_revisions_can_be_kept(thrice: Shell) -> None:
    models = {text: thrice.repo.git("rev-parse", f"HEAD~{back}") for back, text in enumerate(("three", "two", "one"))}

    kept_one = gc(thrice, "--prune", "--keep-good", "1")

    whys = {one["commit"]: one["why"] for one in kept_one["roots"] if "chat" in one["why"]}
    assert whys == {
        models["three"]: "Deployment/chat in local: live",
        models["two"]: "Deployment/chat in local: good before",
    }
    for text, is_there in (("three", True), ("two", True), ("one", False)):
        found = outcome(thrice, Key("Deployment", "chat"), models[text])
        assert blobs.has(kept(thrice), found.outputs["model"]) is is_there
    assert thrice("fsck") == Exit.WELL


def test_fsck_says_that_what_is_live_is_incomplete(stage: Shell) -> None:
    model = outcome(stage, Key("Deployment", "chat")).outputs["model"]
    (stored(stage)[model]).unlink()

    assert stage("fsck") == Exit.NO
    assert "Deployment/chat in local is live and depends on it" in stage.out


# fsck


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_sound_repository_is_clean(kitchen: Shell) -> None:
    assert kitchen("fsck") == Exit.WELL
    assert "No problems." in kitchen.out
    assert fsck(kitchen, "--quick")["findings"] == []


@pytest.mark.parametrize("harm", ["corrupted", "truncated", "missing"])
@pytest.mark.parametrize("what", ["manifest", "file"])
def test_harm_to_the_store_is_found_and_made_good(kitchen: Shell, plugins: Path, what: str, harm: str) -> None:
    dough = outcome(kitchen, Key("Dish", "dough"))
    manifest = dough.outputs["text"]
    digest = manifest if what == "manifest" else next(iter(files_of(kitchen, dough) - {manifest}))
    path = stored(kitchen)[digest]
    data = path.read_bytes()
    {
        "corrupted": lambda: spoil(path, data[:-1] + b"?"),
        "truncated": lambda: spoil(path, data[:-1]),
        "missing": path.unlink,
    }[harm]()

    if harm != "missing":
        assert kitchen("fsck") == Exit.NO
        assert str(path) in kitchen.out
        assert "llmops fsck --repair" in kitchen.out
        assert path.exists()
    found = fsck(kitchen, "--repair")
    assert found["clean"]
    assert "is rebuilt when it is needed" in found["findings"][-1]["remedy"]
    assert not path.exists()

    kitchen.repo.commit({"specs/cake.yaml": spec("Dish", "cake", "{text: cake, of: [dough]}")})
    plugins.write_text("")
    assert kitchen("apply") == Exit.WELL
    assert "done Dish/dough" in plugins.read_text()
    assert fsck(kitchen)["findings"] == []


def test_bytes_that_are_not_what_they_should_be_are_never_used(kitchen: Shell, plugins: Path) -> None:
    dough = outcome(kitchen, Key("Dish", "dough"))
    (digest,) = files_of(kitchen, dough) - set(dough.outputs.values())
    spoil(stored(kitchen)[digest], b"d0ugh flour")
    target = kitchen.repo.folder.parent / "plate"

    with pytest.raises(Broken, match=r"is corrupt: .*`llmops fsck --repair`"):
        blobs.materialise(kept(kitchen), dough.outputs["text"], target)

    assert list(target.iterdir()) == []


def test_a_result_that_was_cut_short_is_made_again_without_a_repair(kitchen: Shell, plugins: Path) -> None:
    """As a machine leaves it that lost its power."""
    dough = outcome(kitchen, Key("Dish", "dough"))
    (digest,) = files_of(kitchen, dough) - set(dough.outputs.values())
    spoil(stored(kitchen)[digest], b"")
    kitchen.repo.commit({"specs/cake.yaml": spec("Dish", "cake", "{text: cake, of: [dough]}")})
    plugins.write_text("")

    assert kitchen("apply") == Exit.WELL

    assert plugins.read_text().count("done Dish/dough") == 1
    kitchen.is_clean()


@pytest.mark.parametrize("what", ["^{tree}", ":{shard}"])
def test_a_ledger_of_which_git_lost_something_is_a_fault_with_a_remedy(kitchen: Shell, what: str) -> None:
    shard = kitchen.repo.git("ls-tree", "--name-only", "refs/llmops/results").split()[0]
    lost = kitchen.repo.git("rev-parse", f"refs/llmops/results{what.format(tree='{tree}', shard=shard)}")
    for index in (kitchen.repo.folder / ".git" / "llmops").glob("index-*"):
        index.unlink()
    (kitchen.repo.folder / ".git" / "objects" / lost[:2] / lost[2:]).unlink()

    assert kitchen("plan", "--offline") == Exit.FAULT
    assert "is missing from this repository, or damaged. Run `git fsck`." in kitchen.err


def test_a_ledger_that_a_newer_llmops_wrote_is_refused_by_every_command(kitchen: Shell) -> None:
    flour = outcome(kitchen, Key("Dish", "flour"))
    rewrite(kitchen, "refs/llmops/results", {ledger.path_of(flour.unit): ledger._encode(replace(flour, format=99))})
    for command in ("plan", "apply", "status", "gc"):
        assert kitchen(command) == Exit.NO, command
        assert "written by a newer llmops. Upgrade: pip install --upgrade git-llmops" in kitchen.err
    ledger.transact(kitchen.repo.ledger(), lambda state: replace(state, format=99), "from the future")
    for command in ("plan", "apply", "status", "gc", "unlock"):
        assert kitchen(command) == Exit.NO, command
        assert "newer llmops" in kitchen.err
    assert kitchen("fsck") == Exit.NO
    assert "newer llmops" in kitchen.out


BROKEN_OFF = """
import os, signal, sys
from llmops.host import disk
from llmops.store import blobs as store
def half(self, path, data):
    open(path, "wb").write(data[:1])
    os.kill(os.getpid(), signal.SIGKILL)
disk.Disk.pipe_file = half
store.add_bytes(store.open_at(sys.argv[1]), b"two")
"""


def test_a_write_that_was_killed_leaves_what_fsck_finds(kitchen: Shell) -> None:
    subprocess.run([sys.executable, "-c", BROKEN_OFF, kept(kitchen).url], check=False)
    (left,) = (Path(one.path) for one in blobs.listing(kept(kitchen)) if not one.digest)
    assert fsck(kitchen)["findings"] == [], "somebody may be writing it"
    os.utime(left, (time.time() - 7200, time.time() - 7200))

    assert [one["where"] for one in fsck(kitchen, "--repair")["findings"]] == [str(left)]
    assert not left.exists()


def test_a_quick_look_finds_what_is_too_short_and_reads_no_file(kitchen: Shell) -> None:
    dough = outcome(kitchen, Key("Dish", "dough"))
    (digest,) = files_of(kitchen, dough) - set(dough.outputs.values())
    path = stored(kitchen)[digest]
    data = path.read_bytes()

    spoil(path, data[:-1] + b"?")
    assert fsck(kitchen, "--quick")["findings"] == []
    spoil(path, data[:-1])
    (found,) = fsck(kitchen, "--quick")["findings"]
    assert "bytes; " in found["what"]


def test_writes_that_were_broken_off_an_hour_ago_are_found_and_removed(kitchen: Shell) -> None:
    path = next(iter(stored(kitchen).values()))
    old, new = (path.with_name(f"{path.name}.{mark * 16}") for mark in "01")
    for partial in (old, new):
        partial.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))

    (found,) = fsck(kitchen)["findings"]
    assert (found["grade"], found["where"]) == ("note", str(old))
    fsck(kitchen, "--repair")

    assert (old.exists(), new.exists()) == (False, True)


def test_a_lock_that_a_killed_git_left_is_found_and_removed(kitchen: Shell) -> None:
    lock = kitchen.repo.folder / ".git/refs/llmops/results.lock"
    lock.touch()
    assert kitchen("fsck") == Exit.WELL, "a git may be at work"
    os.utime(lock, (time.time() - 7200, time.time() - 7200))

    assert kitchen("fsck") == Exit.NO
    assert str(lock) in kitchen.out
    assert kitchen("fsck", "--repair") == Exit.WELL
    assert not lock.exists()


def rewrite(shell: Shell, ref: str, files: dict[str, bytes], *, over: bool = True) -> None:
    """Write a ref of the ledger as nobody should."""
    at = shell.repo.ledger().at
    tip = refs.tip(at, ref)
    new = refs.write(at, files, "by hand", [tip], over=tip if over else "")
    assert refs.publish(at, ref, tip, new)


def test_an_outcome_in_the_wrong_place_is_found(kitchen: Shell) -> None:
    flour = outcome(kitchen, Key("Dish", "flour"))
    rewrite(kitchen, "refs/llmops/results", {f"00/{'0' * 62}.json": ledger._encode(flour)})

    assert kitchen("fsck") == Exit.NO
    assert "which belongs elsewhere" in kitchen.out


def test_an_outcome_that_cannot_be_read_is_found(kitchen: Shell) -> None:
    rewrite(kitchen, "refs/llmops/results", {f"00/{'0' * 62}.json": b"{"})

    assert kitchen("fsck") == Exit.NO
    assert "the ledger has an invalid entry" in kitchen.out


def test_results_that_were_taken_away_are_found(kitchen: Shell) -> None:
    flour = outcome(kitchen, Key("Dish", "flour"))
    rewrite(kitchen, "refs/llmops/results", {ledger.path_of(flour.unit): ledger._encode(flour)}, over=False)

    assert kitchen("fsck") == Exit.NO
    assert "(2 in all)" in kitchen.out


def test_what_is_not_of_llmops_is_found_in_the_history_too(kitchen: Shell) -> None:
    tip = ledger.tips(kitchen.repo.ledger())[0]
    rewrite(kitchen, "refs/llmops/results", {"README": b"hello", "zz/x.json": b"{}"})
    at = kitchen.repo.ledger().at
    odd = refs.tip(at, "refs/llmops/results")
    good = kitchen.repo.git("commit-tree", "-p", odd, "-m", "back", f"{tip}^{{tree}}")
    assert refs.publish(at, "refs/llmops/results", odd, good)

    found = [one["what"] for one in fsck(kitchen)["findings"]]

    assert any("README was not written by llmops" in one for one in found)
    assert any("zz was not written by llmops" in one for one in found)


@pytest.mark.parametrize("fences", [[0], [5, 3, 6]])
def test_a_fence_that_fell_is_found(kitchen: Shell, fences: list[int]) -> None:
    where = kitchen.repo.ledger()
    for fence in fences:
        ledger.transact(where, lambda state, fence=fence: replace(state, fence=fence), "by hand")

    assert kitchen("fsck") == Exit.NO
    assert "the fence fell" in kitchen.out


def test_a_state_that_cannot_be_read_is_found(kitchen: Shell) -> None:
    rewrite(kitchen, "refs/llmops/releases/local", {"state.json": b"[]"}, over=False)

    assert kitchen("fsck") == Exit.NO
    assert "refs/llmops/releases/local" in kitchen.out


def test_fsck_needs_no_network_when_it_is_told_so(kitchen: Shell) -> None:
    kitchen.repo.remote.rename(kitchen.repo.remote.with_name("away.git"))

    assert kitchen("fsck") == Exit.FAULT
    assert kitchen("fsck", "--offline") == Exit.WELL


# unlock

APPLY = """
import sys
from llmops import cli
import llmops.kinds
llmops.kinds.__path__.append({kinds!r})
sys.exit(cli.main(["-C", {folder!r}, "apply"]))
"""


@pytest.fixture
def paused(repo: Repo, llmops: Shell, plugins: Path) -> Iterator[subprocess.Popen[str]]:
    """An apply of a dish that takes long, stopped in the middle."""
    repo.commit({"specs/stew.yaml": spec("Dish", "stew", "{text: stew, seconds: 60}")})
    assert llmops("init") == Exit.WELL
    script = APPLY.format(kinds=str(ROOT / "tests/plugins/kinds"), folder=str(repo.folder))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: "begin" in plugins.read_text())
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()
    step = int(plugins.read_text().split()[2])
    try:
        os.kill(step, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_holder_that_is_alive_here_keeps_its_lease(paused: subprocess.Popen[str], llmops: Shell) -> None:
    assert llmops("unlock", "--yes") == Exit.HELD
    assert f":{paused.pid} has held the lease of local since" in llmops.out
    assert "runs on this machine" in llmops.out
    assert "--force" in llmops.err


def test_a_paused_holder_that_was_unlocked_can_never_write_again(
    paused: subprocess.Popen[str], llmops: Shell, repo: Repo
) -> None:
    assert llmops("unlock", "--force", "--yes") == Exit.WELL
    tip = ledger.tips(repo.ledger())[1]

    paused.send_signal(signal.SIGCONT)
    _, said = paused.communicate(timeout=60)

    assert paused.returncode == Exit.STALE
    assert "lost its lease" in said
    assert ledger.tips(repo.ledger())[1] == tip


def test_the_fence_rises_and_the_next_run_gets_a_higher_one(kitchen: Shell) -> None:
    hold(kitchen, "local")

    assert kitchen("unlock", "--yes") == Exit.WELL

    state = ledger.state(kitchen.repo.ledger())
    assert state is not None
    assert (state.lease, state.fence) == (None, 8)
    with pytest.raises(Retry):
        leases.guard(7)(state)
    assert leases.take(kitchen.repo.ledger(), "me") == 9


def test_the_routes_refuse_the_old_holder_as_well(stage: Shell) -> None:
    from llmops.releases import deployments
    from llmops.serving import gateway_client

    gate = deployments.gateway(stage.repo.workspace())
    fence = gateway_client.read(gate).fence
    ledger.transact(stage.repo.ledger(), lambda state: replace(state, fence=fence), "same")
    from llmops.domain.records import Lease

    lease = Lease(holder="ci@runner:1", fence=fence, until=time.time() + 500)
    ledger.transact(stage.repo.ledger(), lambda state: replace(state, lease=lease), "held")

    assert stage("unlock", "--yes") == Exit.WELL

    with pytest.raises(Retry):
        gateway_client.change(gate, fence, lambda table: replace(table, routes={}))
    assert stage("status") == Exit.WELL


def test_without_a_terminal_unlock_wants_to_be_told_yes(kitchen: Shell) -> None:
    hold(kitchen, "local")

    assert kitchen("unlock") == Exit.USAGE
    assert "ci@runner:1 has held the lease of local" in kitchen.out
    assert "cannot be seen from here" in kitchen.out
    assert "--yes" in kitchen.err
    assert state_of(kitchen).lease is not None


def test_on_a_terminal_unlock_asks(kitchen: Shell) -> None:
    hold(kitchen, "local")

    assert "Nothing was changed." in answer(kitchen, "n")
    assert state_of(kitchen).lease is not None
    assert "is free" in answer(kitchen, "y")
    assert state_of(kitchen).lease is None


def state_of(shell: Shell) -> EnvironmentState:
    found = ledger.state(shell.repo.ledger())
    assert found is not None
    return found


def answer(shell: Shell, word: str) -> str:
    """Run unlock on a terminal of its own, and answer."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "llmops", "-C", str(shell.repo.folder), "unlock"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.write(ours, f"{word}\n".encode())
    said, _ = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    return said


def test_a_lease_that_nobody_holds_needs_no_unlocking(kitchen: Shell) -> None:
    assert kitchen("unlock") == Exit.WELL
    assert "The lease of local is free." in kitchen.out


def test_a_lease_that_changed_hands_is_not_taken(kitchen: Shell) -> None:
    hold(kitchen, "local")
    seen = state_of(kitchen).lease
    assert seen is not None
    leases.revoke(kitchen.repo.ledger(), seen)
    leases.take(kitchen.repo.ledger(), "me")

    with pytest.raises(Retry, match="no longer holds the lease"):
        leases.revoke(kitchen.repo.ledger(), seen)
    assert msgspec.json.encode(state_of(kitchen).lease) != b"null"
