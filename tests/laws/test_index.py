"""The index says what a full reading says, whatever was read before."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops import registry
from llmops.domain.problems import Exit, Invalid, Problem
from llmops.domain.records import Outcome, Provenance
from llmops.domain.resources import Key, Node
from llmops.index import commits, database, index, outcomes
from llmops.ledger import ledger
from llmops.specs import diff, graph, loading
from llmops.specs.graph import Graph
from tests.conftest import SOAK, Shell, examples
from tests.laws.test_laws import trees
from tests.repos import Repo
from tests.trees import Tree, spec, system

FEW = settings(max_examples=200 if SOAK else examples(12), suppress_health_check=list(HealthCheck))


def rebuilt(repo: Repo, revision: str) -> Graph:
    from llmops.git import tree

    git = repo.open()
    files = tree.files(git, tree.commit_id(git, revision))
    return graph.build(loading.parse(files, registry.KINDS, registry.PLUGINS), files, registry.KINDS)


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


BREAKS = [
    ("specs/p.yaml", "name: p", "name: q"),
    ("specs/p.yaml", "kind: Prompt", "kind: Promt"),
    ("specs/m.yaml", "approved", "retired"),
    ("specs/m.yaml", "approved", "draft"),
    ("prompts/p.jinja", "q", "qq"),
    ("evals/t.yaml", "doc_to_text", "doc_to_txt"),
    ("specs/t-a.yaml", "task: sft", "task: sftt"),
    ("specs/t-a.yaml", "base: m", "base: ta"),
    ("specs/d-a.yaml", "name: a", "name: b"),
    ("data/a.jsonl", '"role": "user"', '"role": 3'),
]


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


def test_what_somebody_else_began_meanwhile_is_read(repo: Repo) -> None:
    repo.commit(dict(system()))
    first, second = commits.open_at(repo.open()), commits.open_at(repo.open())

    assert nodes(commits.desire(first, "HEAD").graph) == nodes(commits.desire(second, "HEAD").graph)

    assert commits.desire(second, "HEAD").graph.known is second.index.generation, "and not the whole once more"
    assert [path.name for path in (repo.folder / ".git" / "llmops").glob("index-*.new")] == []
    assert nodes(repo.desire().graph) == nodes(rebuilt(repo, "HEAD"))


def test_where_no_file_has_two_names_the_index_is_named_all_the_same(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    commit = repo.commit(dict(system()))
    first, second = commits.open_at(repo.open()), commits.open_at(repo.open())

    commits.desire(first, "HEAD")
    written = index_of(repo).stat().st_ino
    commits.desire(second, "HEAD")

    assert [path for path in index_of(repo).parent.iterdir() if path.suffix == ".new"] == []
    assert index_of(repo).stat().st_ino == written, "whoever comes second keeps the first"
    assert commits.open_at(repo.open()).index.generation.tree == tree_of(repo, commit)


def test_where_nothing_can_be_written_one_commit_is_read_whole_and_the_next_is_built_over_it(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = repo.commit(dict(system()))
    commit = repo.commit(dict(system().edited("evals/sums.yaml", "doc_to_text: x", "doc_to_text: y")))
    (repo.folder / ".git" / "llmops").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write into whatever is not mounted so
    known = commits.open_at(repo.open())

    commits.desire(known, before)

    assert commits.desire(known, commit).graph.known is known.index.generation
    assert known.index.generation.tree == tree_of(repo, before)
    assert list((repo.folder / ".git" / "llmops").iterdir()) == []


def test_what_is_written_and_cannot_be_opened_is_done_without(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk where SQLite cannot share memory between processes."""
    connect = sqlite3.connect

    def refusing(where: object, **options: Any) -> sqlite3.Connection:
        if str(where).startswith("file:"):
            raise sqlite3.OperationalError("locking protocol")
        return connect(where, **options)  # type: ignore[call-overload,no-any-return]

    repo.commit(dict(system()))
    ledger.start(repo.ledger())
    ledger.record(repo.ledger(), [outcome("u" * 64)], "made")
    monkeypatch.setattr(sqlite3, "connect", refusing)
    reading = commits.open_at(repo.open())

    found = nodes(commits.desire(reading, "HEAD").graph)

    assert index_of(repo).exists()
    assert found == nodes(rebuilt(repo, "HEAD")) == nodes(repo.desire().graph)
    assert "u" * 64 in outcomes.follow(reading.index, repo.ledger())


def test_a_file_that_somebody_removes_is_not_begun_by_who_still_reads_it(repo: Repo) -> None:
    repo.commit(dict(system()))
    whole = nodes(repo.desire().graph)
    reading = commits.open_at(repo.open()).index
    database.remove(index_of(repo))

    found = outcomes.follow(reading, repo.ledger())

    assert "u" * 64 not in found
    assert nodes(repo.desire().graph) == whole


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


def test_what_a_killed_process_began_and_what_nobody_uses_is_removed(repo: Repo) -> None:
    repo.commit(dict(system()))
    folder = repo.folder / ".git" / "llmops"
    folder.mkdir()
    left, unused, recent = (folder / f"index-{name}" for name in ("a.db.7-1.new", "b.db", "c.db.8-1.new"))
    for path, days in ((left, 1), (unused, 31), (recent, 0)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - days * 86400,) * 2)

    repo.desire()

    assert [path for path in (left, unused, recent) if path.exists()] == [recent]


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
    assert llmops("plan", "-o", "json") == Exit.WELL
    whole, path = json.loads(llmops.out)["actions"], index_of(repo)
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
    way = index.in_memory(registry.KINDS).database.read(f"EXPLAIN QUERY PLAN {outcomes.OWED}")

    assert [row[-1] for row in way] == ["SCAN unit USING INDEX unit_owed"]  # it holds nothing else


def test_the_outcomes_of_another_ledger_do_not_count(repo: Repo, llmops: Shell) -> None:
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    units = [unit for node in repo.desire().graph.nodes.values() for unit in node.units]
    made = [outcome(unit.digest) for unit in units]
    ledger.record(repo.ledger(), made, "made")
    assert llmops("plan", "-o", "json") == Exit.WELL
    assert [one for one in json.loads(llmops.out)["actions"] if one["verb"] == "train"] == []

    settings = "{ledger: {results: refs/heads/llmops/results, releases: refs/heads/llmops/releases}}"
    repo.commit({"llmops.yaml": f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {settings}\n"})
    assert llmops("init") == Exit.WELL

    assert llmops("plan", "-o", "json") == Exit.WELL
    assert len([one for one in json.loads(llmops.out)["actions"] if one["verb"] == "train"]) == 2


def outcome(unit: str) -> Outcome:
    provenance = Provenance(commit="c", actor="a", run="", started="t", seconds=1.0, environment={})
    return Outcome(unit=unit, key=Key("Dish", "d"), part="", step="s", outputs={}, metrics={}, provenance=provenance)


def test_what_fails_while_specs_are_read_is_not_taken_for_a_full_disk(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a process that cannot be started: else the file that was being read would be left out."""
    repo.commit({"specs/a.yaml": spec("Model", "m", f"source: {{hf: {{repo: a/b, revision: {'a' * 40}}}}}")})

    def failing(*_: object) -> Iterator[loading.ParsedFile]:
        raise OSError(24, "Too many open files")
        yield

    monkeypatch.setattr("llmops.index.index.workers.read_all", failing)

    with pytest.raises(OSError, match="Too many open files"):
        repo.desire()
    assert list((repo.folder / ".git" / "llmops").iterdir()) == []


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
