"""The index says what a full reading says, whatever was read before."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops import registry
from llmops.domain.problems import Exit, Invalid, Problem
from llmops.domain.resources import Key, Node
from llmops.index import commits, database, index, outcomes
from llmops.ledger import ledger
from llmops.specs import diff, graph, loading
from llmops.specs.graph import Graph
from tests.answers import outcome
from tests.conftest import PLUGINS, SOAK, Shell, examples
from tests.laws.strategies import BREAKS, trees
from tests.repos import Repo
from tests.trees import Tree, spec, system

FEW = settings(max_examples=200 if SOAK else examples(12), suppress_health_check=list(HealthCheck))


def rebuilt(repo: Repo, revision: str) -> Graph:
    from llmops.git import tree

    git = repo.open()
    files = tree.files(git, tree.commit_id(git, revision))
    return graph.build(loading.parse(files, registry.PLUGINS), files, registry.PLUGINS)


def tree_of(repo: Repo, revision: str) -> str:
    return repo.git("rev-parse", f"{revision}^{{tree}}")


def nodes(found: Graph) -> list[tuple[Key, Node]]:
    return [(key, found[key]) for key in found.nodes]


def put(repo: Repo, tree: Tree) -> str:
    """Commit exactly these files."""
    for path in ("specs", "data", "evals", "prompts"):
        subprocess.run(["rm", "-rf", str(repo.folder / path)], check=True)
    return repo.commit(dict(tree))


@FEW
@given(st.lists(trees(), min_size=2, max_size=4))
def test_every_commit_is_as_in_a_full_reading(history: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repo = Repo(Path(folder), remote=False)
        made = [put(repo, tree) for tree in history]
        repo.desire(made[0])  # what is in the index from now on
        known = commits.open_at(repo.open())
        assert known.index.generation.tree == tree_of(repo, made[0])

        found = [commits.desire(known, commit).graph for commit in made]
        whole = [rebuilt(repo, commit) for commit in made]

        assert all(one.known is known.index.generation for one in found), "it was read anew"
        for one, other in zip(found, whole, strict=True):
            assert nodes(one) == nodes(other)
            assert one.live == other.live
            assert len(one.nodes) == len(other.nodes)
        assert diff.compare(found[0], found[-1]) == diff.compare(whole[0], whole[-1])


@FEW
@given(trees(), st.lists(st.sampled_from(BREAKS), min_size=1, max_size=3))
def test_problems_are_as_in_a_full_reading(tree: Tree, breaks: list[tuple[str, str, str]]) -> None:
    broken = tree
    for path, old, new in breaks:
        if path in broken and old in broken[path].decode():
            broken = broken.edited(path, old, new)
    with tempfile.TemporaryDirectory() as folder:
        repo = Repo(Path(folder), remote=False)
        repo.desire(put(repo, tree))
        put(repo, broken)

        assert problems(lambda: repo.desire("HEAD").graph) == problems(lambda: rebuilt(repo, "HEAD"))


def problems(read: object) -> tuple[Problem, ...] | list[tuple[Key, Node]]:
    try:
        return nodes(read())  # type: ignore[operator]
    except Invalid as error:
        return error.problems


def index_of(repo: Repo) -> Path:
    (found,) = (repo.folder / ".git" / "llmops").glob("index-*.db")
    return found


PACKAGE = Path(index.__file__).parent.parent
FOLDERS = sorted(str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("__init__.py"))


@pytest.mark.parametrize("change", ["edited", "added", "removed", "renamed", "compiled"])
def test_every_version_of_the_code_has_an_index_of_its_own(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever folder the code is in, and folders of plug-ins beside the package, too."""
    package, plugins = tmp_path / "llmops", SimpleNamespace(__path__=[str(tmp_path / "plugins")])
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PLUGINS, tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(index, "PACKAGE", package)
    index.open_at(tmp_path, registry.PLUGINS, [plugins])
    assert "serving/gateway" in FOLDERS

    folders = [*(package / folder for folder in FOLDERS), tmp_path / "plugins" / "kinds"]
    for folder in folders:
        file = next(folder.glob("*.py"))
        if change == "edited":
            file.write_text(file.read_text() + "#")
        elif change == "added":
            (folder / "new.py").touch()
        elif change == "removed":
            file.unlink()
        elif change == "renamed":
            file.rename(folder / "renamed.py")
        else:
            (folder / "__pycache__").mkdir()
            (folder / "__pycache__" / "new.pyc").touch()
        index.open_at(tmp_path, registry.PLUGINS, [plugins])

    assert len(list(tmp_path.glob("index-*.db"))) == (1 if change == "compiled" else 1 + len(folders))


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "not a file"])
def test_an_index_that_is_damaged_is_made_again(repo: Repo, damage: str) -> None:
    repo.commit(dict(system()))
    whole = nodes(repo.desire().graph)
    path = index_of(repo)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "garbage":
        path.write_bytes(b"nothing that SQLite knows " * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()

    assert nodes(repo.desire().graph) == whole
    assert nodes(repo.desire().graph) == whole


def test_what_another_process_wrote_meanwhile_is_read(repo: Repo) -> None:
    repo.commit(dict(system()))
    first, second = commits.open_at(repo.open()), commits.open_at(repo.open())

    assert nodes(commits.desire(first, "HEAD").graph) == nodes(commits.desire(second, "HEAD").graph)

    assert commits.desire(second, "HEAD").graph.known is second.index.generation, "and not the whole once more"
    assert nodes(repo.desire().graph) == nodes(rebuilt(repo, "HEAD"))


@FEW
@given(trees(), trees())
def test_a_process_reads_one_generation_whatever_others_write(old: Tree, new: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmops.index.index.MOST_FRESH", 0)
        repo = Repo(Path(folder), remote=False)
        before, after = put(repo, old), put(repo, new)
        repo.desire(before)
        reading = commits.open_at(repo.open())
        graphs = [commits.desire(reading, commit).graph for commit in (before, after)]

        repo.desire(after)  # another process writes its generation
        repo.desire(before)
        ledger.start(repo.ledger())
        ledger.record(repo.ledger(), [outcome("u" * 64)], "made")
        done = outcomes.follow(reading.index, repo.ledger())
        repo.desire(after)

        assert [nodes(graph) for graph in graphs] == [nodes(rebuilt(repo, commit)) for commit in (before, after)]
        assert nodes(commits.desire(reading, after).graph) == nodes(graphs[1])
        assert "u" * 64 in done
        assert all(key in done.pending(graph) for graph in graphs for key in graph.nodes if graph[key].units)


KILLED = """
import os
from pathlib import Path
from llmops.git import repository
from llmops.index import commits, database, index
write = database.Database.write
def killed(self, statement, *rows):
    write(self, statement, *rows)
    if "INTO unit" in statement:
        os._exit(9)
database.Database.write, index.MOST_FRESH = killed, 0
commits.desire(commits.open_at(repository.discover(Path.cwd())), "HEAD")
"""


@pytest.mark.parametrize("has_index", [True, False])
def test_a_writer_that_is_killed_harms_nothing(repo: Repo, *, has_index: bool) -> None:
    before = repo.commit(dict(system()))
    if has_index:
        repo.desire()
    repo.commit(dict(system().edited("evals/sums.yaml", "doc_to_text: x", "doc_to_text: y")))

    assert subprocess.run([sys.executable, "-c", KILLED], cwd=repo.folder, check=False).returncode == 9

    assert commits.open_at(repo.open()).index.generation.tree == (tree_of(repo, before) if has_index else "")
    assert nodes(repo.desire().graph) == nodes(rebuilt(repo, "HEAD"))


@pytest.mark.parametrize("broken", ["the folder", "SQLite"])
def test_where_nothing_can_be_written_one_commit_is_read_whole_and_the_next_is_built_over_it(
    repo: Repo, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is a file, for root may write everywhere; or the disk cannot share memory between processes."""
    connect = sqlite3.connect

    def refusing(where: object, *options: Any, **more: Any) -> sqlite3.Connection:
        if where != ":memory:":
            raise sqlite3.OperationalError("locking protocol")
        return connect(where, *options, **more)  # type: ignore[no-any-return]

    before = repo.commit(dict(system()))
    commit = repo.commit(dict(system().edited("evals/sums.yaml", "doc_to_text: x", "doc_to_text: y")))
    ledger.start(repo.ledger())
    ledger.record(repo.ledger(), [outcome("u" * 64)], "made")
    if broken == "SQLite":
        monkeypatch.setattr(sqlite3, "connect", refusing)
    else:
        (repo.folder / ".git" / "llmops").write_text("")
    known = commits.open_at(repo.open())

    commits.desire(known, before)
    graph = commits.desire(known, commit).graph

    assert graph.known is known.index.generation
    assert known.index.generation.tree == tree_of(repo, before)
    assert nodes(graph) == nodes(rebuilt(repo, "HEAD"))
    assert "u" * 64 in outcomes.follow(known.index, repo.ledger())


def test_a_file_that_somebody_removes_is_begun_anew(repo: Repo) -> None:
    repo.commit(dict(system()))
    whole = nodes(repo.desire().graph)
    reading = commits.open_at(repo.open())
    database.remove(index_of(repo))

    done = outcomes.follow(reading.index, repo.ledger())
    graph = commits.desire(reading, "HEAD").graph

    assert "u" * 64 not in done
    assert done.pending(graph) == frozenset(key for key in graph.nodes if graph[key].units)
    assert nodes(graph) == nodes(repo.desire().graph) == whole


@pytest.mark.parametrize("name", ["50%25 off", "what?mode=ro", "#1", os.fsdecode(b"caf\xe9")])
def test_a_repository_may_be_called_as_anybody_likes(tmp_path: Path, name: str) -> None:
    repo = Repo(tmp_path / name, remote=False)
    commit = repo.commit(dict(system()))

    assert nodes(repo.desire().graph) == nodes(repo.desire().graph)

    assert commits.open_at(repo.open()).index.generation.tree == tree_of(repo, commit)


def test_a_commit_with_a_problem_waits_for_nobody_who_writes(repo: Repo) -> None:
    repo.commit(dict(system()))
    repo.desire()
    path = index_of(repo)
    for wrong in ({"specs/wrong.yaml": "kind: Promt"}, {"llmops.yaml": "kind: Setting"}):
        repo.commit(wrong)
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            began = time.monotonic()

            with pytest.raises(Invalid):
                repo.desire()

        assert time.monotonic() - began < database.BUSY_SECONDS / 2


def test_an_index_that_was_not_written_for_a_month_is_removed(repo: Repo) -> None:
    repo.commit(dict(system()))
    folder = repo.folder / ".git" / "llmops"
    folder.mkdir()
    unused, recent = folder / "index-a.db", folder / "index-b.db"
    for path, days in ((unused, 31), (recent, 29)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - days * 86400,) * 2)

    repo.desire()

    assert [path for path in (unused, recent) if path.exists()] == [recent]


def test_an_index_that_is_read_no_more_is_let_go_at_once(repo: Repo) -> None:
    repo.commit(dict(system()))
    gc.disable()
    try:
        repo.desire()
        with closing(sqlite3.connect(index_of(repo), timeout=0)) as kept:
            (is_busy, _, _) = kept.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        gc.enable()

    assert not is_busy


def test_damage_that_is_met_later_is_said_and_mended_by_the_next_run(repo: Repo, llmops: Shell) -> None:
    """Whatever page is hit: the first run may end with a fault that says so, the second is well, and both are true."""
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    whole, path = llmops.json("plan")["actions"], index_of(repo)
    kept = path.read_bytes()
    for page in range(len(kept) // 4096):
        path.write_bytes(kept[: page * 4096 + 100] + b"\xa5" * 3900 + kept[(page + 1) * 4096 - 96 :])
        code = llmops("plan", "-o", "json")
        if code != Exit.WELL:
            assert code == Exit.FAULT
            assert "Run it again" in llmops.err
            assert llmops("plan", "-o", "json") == Exit.WELL
        assert json.loads(llmops.out)["actions"] == whole


def test_what_is_owed_is_looked_up_and_not_searched_for() -> None:
    way = database.Database(None, index.SCHEMA).read(f"EXPLAIN QUERY PLAN {outcomes.PENDING}")

    assert [row[-1] for row in way] == ["SCAN unit USING INDEX unit_pending"]  # it holds nothing else


def test_the_outcomes_of_another_ledger_do_not_count(repo: Repo, llmops: Shell) -> None:
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    units = [unit for node in repo.desire().graph.nodes.values() for unit in node.units]
    made = [outcome(unit.digest) for unit in units]
    ledger.record(repo.ledger(), made, "made")
    assert [one for one in llmops.json("plan")["actions"] if one["verb"] == "train"] == []

    settings = "{ledger: {results: refs/heads/llmops/results, releases: refs/heads/llmops/releases}}"
    repo.commit({"llmops.yaml": f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {settings}\n"})
    assert llmops("init") == Exit.WELL

    assert len([one for one in llmops.json("plan")["actions"] if one["verb"] == "train"]) == 2


def test_what_fails_while_specs_are_read_is_not_taken_for_a_full_disk(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a process that cannot be started: else the file that was being read would be left out."""
    repo.commit({"specs/a.yaml": spec("Model", "m", f"source: {{hf: {{repo: a/b, revision: {'a' * 40}}}}}")})

    def failing(*_: object) -> Iterator[loading.ParsedFile]:
        raise OSError(24, "Too many open files")
        yield

    monkeypatch.setattr("llmops.index.index.loading.read_all", failing)

    with pytest.raises(OSError, match="Too many open files"):
        repo.desire()
    assert commits.open_at(repo.open()).index.generation.tree == ""


@pytest.mark.parametrize("at_once", [1, index.AT_ONCE])
def test_what_an_index_cannot_hold_is_read_whole(
    repo: Repo, llmops: Shell, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "AT_ONCE", at_once)
    huge = "template: prompts/ask.jinja\nvariables: {question: {type: integer, maximum: 100000000000000000000000}}"
    repo.commit(dict(system()))
    assert llmops("check") == Exit.WELL
    (repo.folder / os.fsdecode(b"caf\xe9.txt")).write_text("an unrelated file whose name is not UTF-8")
    repo.commit()
    assert llmops("check") == Exit.WELL, llmops.err
    (repo.folder / "specs" / os.fsdecode(b"caf\xe9.yaml")).write_text(spec("Prompt", "ask2", huge))
    repo.commit()

    for _ in range(2):
        assert llmops("check") == Exit.WELL, llmops.err
        assert "8 specs" in llmops.out


def test_a_submodule_is_seen_whatever_git_is_told_to_ignore(repo: Repo, llmops: Shell, tmp_path: Path) -> None:
    other = Repo(tmp_path / "other", remote=False)
    other.commit({"a.yaml": "x"})
    repo.commit(dict(system()))
    assert llmops("check") == Exit.WELL
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.folder), "specs/sub")
    repo.git("config", "--file", ".gitmodules", "submodule.specs/sub.ignore", "all")
    repo.git("add", "--force", "specs/sub", ".gitmodules")
    repo.commit()

    assert llmops("check") == Exit.NO
    assert "submodule" in llmops.err


def test_a_generation_follows_when_much_has_changed(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmops.index.index.MOST_FRESH", 0)
    tree = system()
    for text in ("x: 1", "x: 2", "x: 3"):
        repo.commit(dict(tree.edited("evals/sums.yaml", "doc_to_text: x", f"doc_to_text: '{text}'")))
        assert nodes(repo.desire().graph) == nodes(rebuilt(repo, "HEAD"))

    assert commits.open_at(repo.open()).index.generation.tree == tree_of(repo, "HEAD")


@FEW
@given(st.lists(trees(), min_size=2, max_size=4))
def test_what_is_written_over_a_generation_is_as_if_written_anew(history: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmops.index.index.MOST_FRESH", 0)
        repo = Repo(Path(folder), remote=False)
        for tree in history:
            repo.desire(put(repo, tree))
        over = rows(index_of(repo))

        shutil.rmtree(repo.folder / ".git" / "llmops")
        repo.desire()

        assert rows(index_of(repo)) == over


def rows(path: Path) -> dict[str, list[object]]:
    with closing(sqlite3.connect(path)) as kept:
        return {table: sorted(kept.execute(f"SELECT * FROM {table}")) for table in index.OF_NODES}  # noqa: S608
