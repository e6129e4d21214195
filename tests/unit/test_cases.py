"""Every way to be wrong that we know of: a file named by its reason, and the messages beside it.

``UPDATE_CASES=1 pytest tests/unit/test_cases.py`` writes the messages; read them as a user would before you commit.
"""

import os
from pathlib import Path

import pytest

from llmops.domain.problems import Invalid
from tests.trees import Tree, build, problems, system

CASES = sorted((Path(__file__).parent.parent / "cases").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_wrong_spec_says_what_where_and_what_to_do(case: Path) -> None:
    tree = Tree({**system(), "specs/zz-case.yaml": case.read_bytes()})
    said = "".join(f"{problem}\n" for problem in problems(tree))

    agreed = case.with_suffix(".txt")
    if os.environ.get("UPDATE_CASES"):
        agreed.write_text(said)
    assert said == agreed.read_text()


def test_all_problems_of_a_commit_come_at_once() -> None:
    singles = [case for case in CASES if case.stem not in ("cycle", "format-of-a-task", "not-utf-8")]
    tree = Tree({**system(), **{f"specs/zz-{case.name}": case.read_bytes() for case in singles}})
    with pytest.raises(Invalid) as error:
        build(tree)

    assert {problem.path for problem in error.value.problems} >= {f"specs/zz-{case.name}" for case in singles}
