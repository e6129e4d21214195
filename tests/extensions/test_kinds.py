"""A kind from outside of the package: one file and a step, or one file and a controller."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from llmops.domain.problems import Broken, Exit, Invalid
from llmops.domain.resources import Key
from llmops.registry import PLUGINS
from llmops.releases.controllers import CONTROLLERS
from tests.conftest import PLUGINS as FOLDER
from tests.conftest import Shell
from tests.extensions.conftest import install
from tests.repos import Repo
from tests.served import SETTINGS
from tests.trees import Tree, build, spec

pytestmark = pytest.mark.usefixtures("plugins")

TINY = Key("TinyModel", "tiny")


def shown(repo: Repo, name: str) -> str:
    path = repo.workspace().runtime / "beacons" / name
    return path.read_text().split("\n")[1] if path.exists() else ""


def beacon(text: str, more: str = "") -> str:
    return spec("Beacon", "north", f"text: {text}\n{more}")


def actions(shell: Shell) -> list[tuple[str, str]]:
    shell("plan", "-o", "json")
    return [
        (action["verb"], f"{action['key']['kind']}/{action['key']['name']}")
        for action in json.loads(shell.out)["actions"]
    ]


@pytest.fixture
def lit(repo: Repo, llmops: Shell) -> Shell:
    repo.commit({"llmops.yaml": SETTINGS, "specs/north.yaml": beacon("one")})
    assert llmops("init") == Exit.WELL
    assert llmops("apply") == Exit.WELL, llmops.err
    return llmops


def test_a_kind_may_have_underscores_in_its_file_name_and_is_called_by_its_class() -> None:
    assert PLUGINS.kinds["TinyModel"].name == "TinyModel"
    assert "tiny_model" not in PLUGINS.kinds


def test_a_live_kind_without_a_controller_is_reported_with_the_group_to_announce_it_in() -> None:
    with pytest.raises(Broken, match="the live kind Ghost has no controller"):
        CONTROLLERS["Ghost"]


def test_a_kind_that_provides_a_role_is_used_without_a_change_elsewhere() -> None:
    example = (FOLDER / "kinds" / "tiny_model.example.yaml").read_text()
    task = "task: t\noutput_type: generate_until\ndoc_to_text: x\ndoc_to_target: y\n"
    graph = build(
        Tree(
            {
                "data/rows.jsonl": '{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}\n',
                "evals/t.yaml": task,
                "specs/tiny.yaml": example,
                "specs/rows.yaml": spec("Dataset", "rows", "format: messages\nsources: [{path: data/rows.jsonl}]"),
                "specs/tuned.yaml": spec("Training", "tuned", "task: sft\nbase: tiny\ndatasets: [{name: rows}]"),
                "specs/e.yaml": spec(
                    "Evaluation", "e", "subject: {model: tiny}\nsuites: [{task: evals/t.yaml, dataset: rows}]"
                ),
                "specs/chat.yaml": spec("Deployment", "chat", "model: tiny\nrequires: [e]"),
            }
        )
    )

    users = {key for key, node in graph.nodes.items() if any(need.key == TINY for need in node.needs)}

    assert users == {Key("Training", "tuned"), Key("Evaluation", "e"), Key("Deployment", "chat")}


def test_a_reference_says_which_kinds_it_may_name() -> None:
    tree = Tree(
        {
            "specs/chat.yaml": spec("Deployment", "chat", "model: tinny"),
            "specs/tiny.yaml": spec("TinyModel", "tiny", ""),
        }
    )

    with pytest.raises(Invalid) as raised:
        build(tree)

    wanted = 'no Model or TinyModel or Training is called "tinny". Did you mean "tiny"?'
    assert str(raised.value) == f"specs/chat.yaml:5: $.spec.model: {wanted}"


@pytest.mark.slow
def test_what_its_step_makes_is_served(repo: Repo, llmops: Shell) -> None:
    chat = spec("Deployment", "chat", "model: tiny\nengine: {type: shouting}")
    repo.commit({"llmops.yaml": SETTINGS, "specs/tiny.yaml": spec("TinyModel", "tiny", ""), "specs/chat.yaml": chat})
    llmops("init")
    try:
        assert llmops("apply") == Exit.WELL, llmops.err
    finally:
        llmops("stop")


def test_a_live_kind_is_planned_applied_and_shown(lit: Shell) -> None:
    assert shown(lit.repo, "north") == "one"
    assert lit("status") == Exit.WELL
    assert "Beacon/north" in lit.out
    assert "live" in lit.out
    assert actions(lit) == []


def test_it_changes_and_goes_back_without_a_build(lit: Shell) -> None:
    lit.repo.commit({"specs/north.yaml": beacon("two")})
    assert actions(lit) == [("release", "Beacon/north")]
    assert lit("apply") == Exit.WELL
    assert shown(lit.repo, "north") == "two"

    lit.repo.git("revert", "--no-edit", "HEAD")
    assert actions(lit) == [("rollback", "Beacon/north")]
    assert lit("apply") == Exit.WELL
    assert shown(lit.repo, "north") == "one"


def test_what_is_not_in_the_digest_changes_nothing(lit: Shell) -> None:
    lit.repo.commit({"specs/north.yaml": beacon("one", "every: 5s")})

    assert actions(lit) == []


def test_it_depends_on_what_is_built(lit: Shell) -> None:
    lit.repo.commit(
        {"specs/soup.yaml": spec("Dish", "soup", "text: soup"), "specs/north.yaml": beacon("one", "of: soup")}
    )

    assert actions(lit) == [("cook", "Dish/soup"), ("release", "Beacon/north")]
    assert lit("apply") == Exit.WELL


def test_what_was_removed_by_hand_is_restored(lit: Shell) -> None:
    (lit.repo.workspace().runtime / "beacons" / "north").unlink()

    assert lit("status") == Exit.UNHEALTHY
    assert actions(lit) == [("restore", "Beacon/north")]
    assert lit("apply") == Exit.WELL
    assert shown(lit.repo, "north") == "one"


def test_it_is_removed_with_its_spec(lit: Shell) -> None:
    (lit.repo.folder / "specs" / "north.yaml").unlink()
    lit.repo.commit()

    assert lit("apply") == Exit.WELL, lit.err
    assert shown(lit.repo, "north") == ""
    state = lit.state()
    assert state.releases["Beacon/north"].live == ""


def test_gc_and_fsck_know_it(lit: Shell) -> None:
    assert lit("gc", "--prune") == Exit.WELL, lit.err
    assert lit("fsck") == Exit.WELL, lit.err
    assert actions(lit) == []


def test_installed_kinds_are_found_by_entry_point_and_a_repository_announces_none(
    repo: Repo, environment: Path
) -> None:
    hostile = "[llmops.kinds]\nDish = shop_plugins:KIND\nThief = thief:KIND\n"
    repo.commit(
        {
            "specs/soup.yaml": spec("Dish", "soup", "text: soup"),
            "evil-1.dist-info/entry_points.txt": hostile,
            "evil-1.dist-info/METADATA": "Name: evil\nVersion: 1\n",
            "thief.py": "raise SystemExit('stolen')\n",
        }
    )
    check = [str(environment / "bin" / "python"), "-m", "llmops", "check"]

    before = subprocess.run(check, cwd=repo.folder, capture_output=True, text=True, check=False)
    install(environment, FOLDER / "kinds" / "dish.py", "[llmops.kinds]\nDish = shop_plugins:KIND\n")
    after = subprocess.run(check, cwd=repo.folder, capture_output=True, text=True, check=False)

    assert 'no kind is called "Dish"' in before.stdout + before.stderr
    assert after.returncode == 0, after.stdout + after.stderr
