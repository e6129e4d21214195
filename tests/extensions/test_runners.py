"""A runner from outside of the package, which does not see the folder of an order."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.domain.digests import sha256
from llmops.domain.problems import Broken, Exit
from llmops.store import blobs, mailbox
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec


def settings(tmp_path: Path) -> str:
    runner = f"runner: {{type: far, config: {{scratch: '{tmp_path}/far'}}}}"
    return (
        f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{{runner}, store: {{url: 'file://{tmp_path}/store'}}}}\n"
    )


@pytest.fixture
def kitchen(repo: Repo, llmops: Shell, plugins: Path, tmp_path: Path) -> Shell:
    repo.commit({"llmops.yaml": settings(tmp_path), "specs/soup.yaml": spec("Dish", "soup", "text: soup")})
    assert llmops("init") == Exit.WELL
    return llmops


def test_an_order_reaches_it_by_its_digest_and_its_results_come_back(kitchen: Shell, tmp_path: Path) -> None:
    assert kitchen("apply") == Exit.WELL, kitchen.err

    assert "Dish/soup: done" in kitchen.err
    assert list((tmp_path / "far").glob("dish-soup-*/results/*.json"))
    kitchen.is_clean()


def test_its_progress_is_shown(kitchen: Shell) -> None:
    kitchen.repo.commit({"specs/soup.yaml": spec("Dish", "soup", "{text: soup, seconds: 3}")})

    assert kitchen("apply") == Exit.WELL
    assert "cooking" in kitchen.err


def test_a_failure_comes_back_in_its_own_words(kitchen: Shell) -> None:
    kitchen.repo.commit({"specs/soup.yaml": spec("Dish", "soup", "{text: soup, fails: error}")})

    assert kitchen("apply") == Exit.FAULT
    assert "it burnt" in kitchen.err


def test_what_failed_is_tried_again_and_the_old_report_does_not_come_back(kitchen: Shell, plugins: Path) -> None:
    kitchen.repo.commit({"specs/soup.yaml": spec("Dish", "soup", "{text: soup, fails: error}")})
    assert kitchen("apply") == Exit.FAULT
    assert kitchen("apply") == Exit.FAULT

    assert sum(line.startswith("begin Dish/soup") for line in plugins.read_text().splitlines()) == 2


def test_unknown_options_of_a_runner_are_a_problem_of_the_settings(kitchen: Shell, tmp_path: Path) -> None:
    kitchen.repo.commit({"llmops.yaml": settings(tmp_path).replace("scratch", "scrach")})

    assert kitchen("check") == Exit.NO
    assert "$.spec.runner.config.scrach: there is no such field. Did you mean" in kitchen.out + kitchen.err


def test_a_mailbox_is_replaced_by_what_the_folder_holds(tmp_path: Path) -> None:
    store, folder = blobs.open_at((tmp_path / "store").as_uri()), tmp_path / "dish-soup-1"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "a.json").write_text("{}")
    (folder / "outcome.json").write_text("{}")
    (folder / "order.json").write_text("{}")
    mailbox.push(store, folder)
    (folder / "outcome.json").unlink()

    mailbox.replace(store, folder)
    elsewhere = tmp_path / "elsewhere" / "dish-soup-1"
    mailbox.pull(store, elsewhere)

    assert sorted(path.name for path in elsewhere.rglob("*.json")) == ["a.json"]


def test_an_order_is_taken_only_with_its_digest(tmp_path: Path) -> None:
    store, folder = blobs.open_at((tmp_path / "store").as_uri()), tmp_path / "dish-soup-1"
    folder.mkdir()
    (folder / "order.json").write_text("{}")
    mailbox.replace(store, folder)
    elsewhere = tmp_path / "elsewhere" / folder.name

    with pytest.raises(Broken, match="is not order 00"):
        mailbox.fetch_order(store, "0" * 64, elsewhere)
    assert not elsewhere.exists()
    mailbox.fetch_order(store, sha256(b"{}"), elsewhere)
    assert (elsewhere / "order.json").read_text() == "{}"
    mailbox.remove(store, folder.name)
    assert not list((tmp_path / "store" / "orders").rglob("*.json"))


def test_the_mailbox_goes_with_the_order(kitchen: Shell, tmp_path: Path) -> None:
    assert kitchen("apply") == Exit.WELL
    kitchen.repo.commit({"specs/soup.yaml": spec("Dish", "soup", "text: broth")})
    assert kitchen("apply") == Exit.WELL
    mailboxes = tmp_path / "store" / "orders"
    assert len(list(mailboxes.glob("*/order.json"))) == 2

    assert kitchen("gc", "--prune", "--grace", "0s") == Exit.WELL, kitchen.err

    assert len(list(mailboxes.glob("*/order.json"))) == 1
