"""The index says what a full reading says, whatever was read before."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops import catalogues, commits, diff, graph, specs
from llmops.graph import Graph
from llmops.problems import Invalid, Problem
from llmops.values import Key, Node
from tests.laws.test_laws import trees
from tests.repos import Repo
from tests.trees import Tree

FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def rebuilt(repo: Repo, revision: str) -> Graph:
    from llmops import tree

    git = repo.open()
    files = tree.files(git, tree.commit_id(git, revision))
    return graph.build(specs.parse(files, catalogues.KINDS, catalogues.PLUGINS), files, catalogues.KINDS)


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


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "not a file", "of other code"])
def test_an_index_that_is_damaged_is_made_again(repo: Repo, damage: str) -> None:
    from tests.trees import system

    repo.commit(dict(system()))
    whole = nodes(repo.desire().graph)
    path = repo.folder / ".git" / "llmops" / "index.db"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "garbage":
        path.write_bytes(b"nothing that SQLite knows " * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "not a file":
        path.unlink()
        path.mkdir()
    else:
        import sqlite3

        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE about SET value = 'other' WHERE name = 'code'")

    assert nodes(repo.desire().graph) == whole
    assert nodes(repo.desire().graph) == whole
