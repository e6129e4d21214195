"""Apply, on real repositories and real child processes, with a kind that needs no model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.planning.status import Entry
from llmops.reports import overviews
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")


def dishes() -> dict[str, str]:
    return {
        "specs/flour.yaml": spec("Dish", "flour", "text: flour"),
        "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}"),
        "specs/bread.yaml": spec("Dish", "bread", "{text: bread, of: [dough]}"),
        "specs/menu.yaml": spec("Menu", "menu", "{dish: bread, courses: [{label: first}, {label: second}]}"),
    }


@pytest.fixture
def kitchen(repo: Repo, llmops: Shell) -> Shell:
    repo.commit(dishes())
    assert llmops("init") == Exit.WELL
    return llmops


def cooked(counter: Path, *, word: str = "done") -> list[str]:
    return [" ".join(line.split()[1:-1]) for line in counter.read_text().splitlines() if line.startswith(word)]


def test_everything_is_made_in_order_and_once(kitchen: Shell, plugins: Path) -> None:
    assert kitchen("apply") == Exit.WELL

    made = ["Dish/flour", "Dish/dough", "Dish/bread", "Menu/menu courses[0]", "Menu/menu courses[1]"]
    assert cooked(plugins) == made
    assert "Applied." in kitchen.out


def test_apply_after_apply_does_nothing(kitchen: Shell, plugins: Path) -> None:
    kitchen("apply")
    before = plugins.read_text()

    assert kitchen("apply") == Exit.WELL

    assert "Nothing to do" in kitchen.out
    assert plugins.read_text() == before


def test_parts_of_one_plan_share_a_process(kitchen: Shell, plugins: Path) -> None:
    kitchen("apply")

    workers = {line.split()[-1] for line in plugins.read_text().splitlines() if "Menu/menu" in line}
    assert len(workers) == 1


def test_parts_that_share_a_process_do_not_wait_for_an_order_that_they_do_not_need(
    kitchen: Shell, plugins: Path
) -> None:
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {runner: {parallel: 2}}\n"
    soup = spec("Dish", "soup", "{text: soup, of: [bread], seconds: 3}")
    kitchen.repo.commit({"llmops.yaml": settings, "specs/soup.yaml": soup})

    assert kitchen("apply") == Exit.WELL, kitchen.err

    assert cooked(plugins)[-3:] == ["Menu/menu courses[0]", "Menu/menu courses[1]", "Dish/soup"]


def test_an_edit_makes_only_what_leans_on_it(kitchen: Shell, plugins: Path) -> None:
    kitchen("apply")
    plugins.write_text("")
    kitchen.repo.edit("specs/dough.yaml", "text: dough", "text: better dough")
    kitchen.repo.commit()

    kitchen("apply")

    assert cooked(plugins) == ["Dish/dough", "Dish/bread", "Menu/menu courses[0]", "Menu/menu courses[1]"]


def test_a_revert_makes_nothing(kitchen: Shell, plugins: Path) -> None:
    kitchen("apply")
    kitchen.repo.edit("specs/dough.yaml", "text: dough", "text: better dough")
    kitchen.repo.commit()
    kitchen("apply")
    plugins.write_text("")
    kitchen.repo.git("revert", "--no-edit", "HEAD")

    assert kitchen("apply") == Exit.WELL

    assert plugins.read_text() == ""
    assert "Nothing to do" in kitchen.out


def test_another_clone_with_the_same_store_makes_nothing(kitchen: Shell, plugins: Path, tmp_path: Path) -> None:
    store = (tmp_path / "shared").as_uri()
    kitchen.repo.commit(
        {"llmops.yaml": f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{store: {{url: '{store}'}}}}\n"}
    )
    kitchen.repo.git("push", "--quiet")
    kitchen("apply")
    plugins.write_text("")
    other = Shell(kitchen.repo.clone(tmp_path / "other"), kitchen.capsys)

    assert other("apply") == Exit.WELL

    assert plugins.read_text() == ""


def test_results_whose_bytes_are_gone_are_made_again_when_they_are_needed(kitchen: Shell, plugins: Path) -> None:
    kitchen("apply")
    plugins.write_text("")
    for blob in (kitchen.repo.folder / ".git/llmops/store/objects").rglob("*"):
        if blob.is_file():
            blob.unlink()
    kitchen.repo.edit("specs/menu.yaml", "label: second", "label: third")
    kitchen.repo.commit()

    assert kitchen("apply") == Exit.WELL

    assert "will be rebuilt" in kitchen.out
    assert "Dish/bread" in cooked(plugins)


def test_a_failure_stops_what_leans_on_it_and_nothing_else(kitchen: Shell, plugins: Path) -> None:
    kitchen.repo.commit(
        {
            "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour], fails: error}"),
            "specs/soup.yaml": spec("Dish", "soup", "text: soup"),
        }
    )

    assert kitchen("apply") == Exit.FAULT

    assert sorted(cooked(plugins)) == ["Dish/flour", "Dish/soup"]
    assert "Dish/dough: failed: it burnt" in kitchen.err
    assert "Dish/bread: skipped: a dependency failed" in kitchen.err


def test_a_figure_that_is_not_a_number_is_a_failure_that_says_so(kitchen: Shell) -> None:
    kitchen.repo.edit("specs/dough.yaml", "text: dough", "text: dough, fails: nan")
    kitchen.repo.commit()

    assert kitchen("apply") == Exit.FAULT
    assert "letters of Dish/dough is not a number" in kitchen.err


def test_a_result_that_cannot_be_read_is_made_again(kitchen: Shell, plugins: Path) -> None:
    kitchen.repo.edit("specs/dough.yaml", "text: dough", "text: dough, fails: vanish")
    kitchen.repo.commit()
    kitchen("apply")
    (folder,) = (kitchen.repo.workspace().work).glob("dish-dough-*")
    (unit,) = kitchen.repo.desire("HEAD").graph[Key("Dish", "dough")].units
    (folder / "results" / f"{unit.digest}.json").write_text('{"unit": nul')
    kitchen.repo.edit("specs/dough.yaml", ", fails: vanish", "")
    kitchen.repo.commit()

    assert kitchen("apply") == Exit.WELL
    assert cooked(plugins).count("Dish/dough") == 1


def test_what_failed_is_tried_again_by_the_next_apply(kitchen: Shell, plugins: Path) -> None:
    kitchen.repo.commit({"specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour], fails: error}")})
    kitchen("apply")
    kitchen.repo.commit({"specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}")})

    assert kitchen("apply") == Exit.WELL
    assert "Dish/bread" in cooked(plugins)


def test_a_process_that_vanishes_is_begun_again_and_then_given_up(kitchen: Shell, plugins: Path) -> None:
    kitchen.repo.commit({"specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour], fails: vanish}")})

    assert kitchen("apply") == Exit.FAULT

    assert cooked(plugins, word="begin").count("Dish/dough") == 2
    assert "ended without a report" in kitchen.err


@pytest.mark.parametrize(("way", "tries"), [("exit", 1), ("interrupt", 2)])
def test_a_step_that_ends_its_own_process_leaves_its_last_words_without_secrets(
    kitchen: Shell, plugins: Path, way: str, tries: int
) -> None:
    kitchen.repo.commit({"specs/dough.yaml": spec("Dish", "dough", f"{{text: dough, of: [flour], fails: {way}}}")})

    assert kitchen("apply") == Exit.FAULT

    assert cooked(plugins, word="begin").count("Dish/dough") == tries
    assert ("its code called sys.exit(4)" in kitchen.err) == (way == "exit")
    assert kitchen("logs", "Dish/dough") == Exit.WELL
    assert "the recipe: ***" in kitchen.out


def test_a_kept_plan_is_carried_out_exactly_once(kitchen: Shell, tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    assert kitchen("plan", "--out", plan) == Exit.WELL

    assert kitchen("apply", plan) == Exit.WELL
    assert kitchen("apply", plan) == Exit.STALE
    assert "stale" in kitchen.err


def test_a_kept_plan_is_refused_when_other_actions_are_owed_now(kitchen: Shell, tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    kitchen("plan", "--out", plan)
    kitchen("apply")

    assert kitchen("apply", plan) == Exit.STALE


def test_a_kept_plan_is_carried_out_for_its_own_commit(kitchen: Shell, plugins: Path, tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    kitchen("plan", "--out", plan)
    kitchen.repo.commit({"specs/soup.yaml": spec("Dish", "soup", "text: soup")})

    assert kitchen("apply", plan) == Exit.WELL
    assert "Dish/soup" not in cooked(plugins)


@pytest.mark.parametrize("text", ["{", "[]", '{"commit": 3}'])
def test_what_is_no_plan_is_refused(kitchen: Shell, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)

    assert kitchen("apply", str(tmp_path / "plan.json")) == Exit.USAGE
    assert "is not a plan" in kitchen.err


def test_nobody_is_told_to_write_a_plan_over_a_file_that_is_something_else(kitchen: Shell) -> None:
    assert kitchen("apply", str(kitchen.repo.folder / "specs/flour.yaml")) == Exit.USAGE
    assert "`llmops plan --out plan.json`" in kitchen.err
    assert kitchen("apply", "nowhere.json") == Exit.USAGE
    assert "`llmops plan --out plan.json`" in kitchen.err
    assert "No such file" in kitchen.err


def test_a_plan_is_for_one_environment(kitchen: Shell, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    kitchen("plan", "--out", str(plan))

    assert kitchen("apply", str(plan), "-e", "production") == Exit.USAGE
    assert "for the environment local" in kitchen.err


def test_a_plan_that_cannot_be_kept_says_so(kitchen: Shell, tmp_path: Path) -> None:
    assert kitchen("plan", "--out", str(tmp_path / "nowhere" / "plan.json")) == Exit.USAGE
    assert "cannot be written to" in kitchen.err


def test_pending_changes_have_an_exit_code(kitchen: Shell) -> None:
    assert kitchen("plan", "--detailed-exitcode") == Exit.CHANGES
    kitchen("apply")
    assert kitchen("plan", "--detailed-exitcode") == Exit.WELL


def test_estimates_come_from_past_runs(kitchen: Shell) -> None:
    kitchen("apply")
    kitchen.repo.edit("specs/dough.yaml", "text: dough", "text: better dough")
    kitchen.repo.commit()
    kitchen("plan", "-o", "json")

    assert len(json.loads(kitchen.out)["estimates"]) == 4


def test_problems_leave_everything_as_it_was(kitchen: Shell, plugins: Path) -> None:
    kitchen("apply")
    tips = kitchen.repo.git("for-each-ref", "refs/llmops")
    kitchen.repo.commit({"specs/bad.yaml": spec("Dish", "bad", "txt: oops")})

    for command in ("check", "plan", "apply", "status"):
        assert kitchen(command) == Exit.NO
        assert 'Did you mean "text"?' in kitchen.err
    assert kitchen.repo.git("for-each-ref", "refs/llmops") == tips


def test_without_a_ledger_nothing_is_applied_but_a_plan_can_be_made(repo: Repo, llmops: Shell) -> None:
    repo.commit(dishes())

    assert llmops("plan") == Exit.WELL
    assert "has no ledger" in llmops.out
    assert llmops("apply") == Exit.NO
    assert "llmops init" in llmops.err


def test_without_the_remote_a_plan_can_be_made_offline(kitchen: Shell) -> None:
    kitchen.repo.remote.rename(kitchen.repo.remote.with_name("away.git"))

    assert kitchen("plan") == Exit.FAULT
    assert "--offline" in kitchen.err
    assert kitchen("plan", "--offline") == Exit.WELL


def test_a_lease_that_is_held_stops_a_second_apply(kitchen: Shell) -> None:
    from msgspec.structs import replace

    from llmops.domain.records import Lease
    from llmops.ledger import ledger

    lease = Lease(holder="ci@runner:1", fence=7, until=9e9)
    ledger.transact(kitchen.repo.ledger(), lambda state: replace(state, lease=lease, fence=7), "held")

    assert kitchen("apply") == Exit.HELD
    assert "ci@runner:1 is applying" in kitchen.err
    assert kitchen("status") == Exit.WELL
    assert "ci@runner:1 is applying" in kitchen.out


def test_why_and_history_and_logs_tell_what_happened(kitchen: Shell) -> None:
    kitchen("apply")
    kitchen.repo.edit("specs/flour.yaml", "text: flour", "text: rye")
    kitchen.repo.commit()

    assert kitchen("why", "menu") == Exit.WELL
    assert "First difference: Dish/flour: text: flour -> rye." in kitchen.out
    kitchen("apply")
    assert kitchen("history", "Dish/flour") == Exit.WELL
    assert kitchen.out.count("cook") == 2
    assert kitchen("logs", "flour") == Exit.WELL


def test_what_was_made_but_is_not_in_this_store_is_owed_and_not_done(kitchen: Shell) -> None:
    kitchen("apply")
    kitchen.repo.edit("specs/bread.yaml", "text: bread", "text: rolls")
    kitchen.repo.commit()
    kitchen("status")
    assert conditions(kitchen) == {"flour": "done", "dough": "done", "bread": "pending", "menu": "pending"}
    shutil.rmtree(kitchen.repo.folder / ".git/llmops/store/objects")

    assert kitchen("status") == Exit.WELL

    assert "missing from this store" in kitchen.out
    assert set(conditions(kitchen).values()) == {"pending"}


def conditions(kitchen: Shell) -> dict[str, str]:
    rows = [line.split() for line in kitchen.out.splitlines() if line.startswith("  ")]
    return {row[0].partition("/")[2]: row[2] for row in rows}


def test_status_says_which_part_a_figure_is_of(kitchen: Shell) -> None:
    kitchen("apply")

    assert kitchen("status") == Exit.WELL

    (line,) = [line for line in kitchen.out.splitlines() if "Menu/menu" in line]
    assert "first: " in line
    assert "; second: " in line


def test_a_line_of_the_history_without_figures_ends_with_its_time() -> None:
    entry = Entry(at="2026-01-01T00:00:00Z", what="prepare", digest="a" * 64, commit="c" * 40, seconds=0.25)

    assert overviews.history(Key("Deployment", "chat"), (entry,)).splitlines()[1].endswith("  0.2 s")


def test_a_name_that_nothing_has_gets_a_suggestion(kitchen: Shell) -> None:
    assert kitchen("why", "Dish/bred") == Exit.USAGE
    assert 'Did you mean "Dish/bread"?' in kitchen.err
