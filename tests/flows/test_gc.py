"""What gc removes and what it keeps, on real repositories and stores."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.ledger import ledger
from llmops.store import blobs
from tests.conftest import Shell
from tests.maintenance import DAY, age, better, files_of, gc, kept, outcome, stored
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")


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


def test_an_object_store_is_swept_as_well(repo: Repo, llmops: Shell) -> None:
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {store: {url: 'memory://upkeep'}}\n"
    repo.commit({"llmops.yaml": settings})
    llmops("init")
    there = blobs.open_at("memory://upkeep")
    digest = blobs.add_bytes(there, b"unused")

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

    assert [one["verb"] for one in thrice.json("plan")["actions"]] == ["rollback"]
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
