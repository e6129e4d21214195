"""Whatever a file of another tool says, importing it gives specs or problems: nothing crashes, nothing hangs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops.importing import convert
from llmops.importing.translation import ImportOptions, Translation
from tests.conftest import examples
from tests.laws.strategies import FILES, VALUES
from tests.trees import Tree

BOUNDED = settings(max_examples=examples(150))
WISH = ImportOptions(models={"openai:gpt-4o": "small"}, judge="large", name="", specs="specs")
CONFIG, PROMPT = "promptfooconfig.yaml", "ask.prompt.yml"
BESIDE = ("other.yaml", "rows.jsonl", "rows.csv", "ask.txt", "chat.json")
NAMED = st.sampled_from([*(f"file://{path}" for path in (CONFIG, *BESIDE)), "ask.txt", "file://../../etc/passwd"])
TYPES = st.sampled_from(
    "equals icontains regex is-json contains-all llm-rubric similar latency perplexity javascript assert-set "
    "not-contains rouge-n levenshtein starts-with model-graded-closedqa f1 uses word_count string".split()
)
TEXTS = st.sampled_from(["{{ town }}", "{{ a b", "{% if %}", "(a+)+$", "a", "", "openai:gpt-4o", "{{ env.X }}"])
ANY = VALUES | NAMED | TEXTS
NAMES = {
    CONFIG: "prompts providers targets tests scenarios defaultTest evaluateOptions description".split(),
    PROMPT: "name model messages testData evaluators modelParameters responseFormat".split(),
}
INNER = (
    "raw id label vars assert threshold config tests options provider repeat metadata description type value metric "
    "weight llm choices choice prompt systemPrompt modelId equals contains startsWith rubricPrompt transform role content expected name string startsWith uses with temperature"
).split()


def inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and mappings of what such files are made of."""
    fields = st.dictionaries(st.sampled_from(INNER), inner, max_size=4)
    return st.lists(inner, max_size=3) | fields | st.tuples(TYPES, fields).map(lambda one: {"type": one[0]} | one[1])


def files_of(path: str) -> st.SearchStrategy[bytes]:
    fields = st.dictionaries(st.sampled_from(NAMES[path]), st.recursive(ANY, inside, max_leaves=12), max_size=5)
    return fields.map(lambda one: {"prompts": ["Say {{ town }}."], "tests": [], "messages": []} | one).map(
        msgspec.json.encode
    )


def translated(tree: Tree, path: str = CONFIG) -> Translation:
    """Import a file, and look at what came of it as the command does."""
    found = convert.translate(path, tree, WISH)
    assert all(str(one) for one in (*found.problems, *found.notes, *convert.check(tree, found.files)))
    return found


@BOUNDED
@given(st.data())
def test_any_configuration_gives_specs_or_problems(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(NAMES)))
    beside = data.draw(st.dictionaries(st.sampled_from(BESIDE), FILES | files_of(CONFIG), max_size=3))

    translated(Tree({path: data.draw(FILES | files_of(path)), **beside}), path)


MANY = 100_000


@pytest.mark.parametrize(
    ("tests", "beside", "says"),
    [
        ("file://rows.yaml", {"rows.yaml": "[file://rows.yaml]"}, "a file of tests references another"),
        ("file://rows.csv", {"rows.csv": f"town\n{'a' * 200_000}\n"}, "rows.csv:2: field larger"),
        ("file://rows.csv", {"rows.csv": 'town\n"a\rb\rc\n'}, ""),
        ("file://rows.csv", {"rows.csv": "town\ra\rb\r"}, ""),
        ("file://rows.jsonl", {"rows.jsonl": "[" * MANY}, "rows.jsonl:1"),
    ],
)
def test_files_of_tests_that_are_traps_are_problems(tests: str, beside: dict[str, str], says: str) -> None:
    tree = Tree({CONFIG: f"prompts: [Say.]\ntests: {tests}\n", **beside})

    found = translated(tree)

    assert says in "\n".join(map(str, found.problems))


def test_lists_that_multiply_are_a_problem_and_not_a_memory_full_of_questions() -> None:
    sets, tests = [{"vars": {"a": number}} for number in range(400)], [{"vars": {"b": [1, 2]}}] * 400
    by_sets = {"prompts": ["Say."], "scenarios": [{"config": sets, "tests": tests}]}
    by_lists = {"prompts": ["Say."], "tests": [{"vars": {"a": list(range(100)), "b": list(range(100))}}] * 11}

    for one in (by_sets, by_lists):
        found = translated(Tree({CONFIG: msgspec.json.encode(one)}))
        assert "more than 100,000 questions" in "\n".join(map(str, found.problems))


def test_a_prompt_that_is_no_text_is_a_problem() -> None:
    found = translated(Tree({CONFIG: "prompts: [file://ask.txt]\ntests: []\n", "ask.txt": b"caf\xe9 {{ town }}"}))

    assert "ask.txt is not UTF-8 text." in str(found.problems[0])


def test_a_prompt_of_many_brackets_is_a_text() -> None:
    found = translated(Tree({CONFIG: f"prompts: ['{'[' * MANY}']\ntests: []\n"}))

    assert not found.problems


def test_choices_that_are_no_list_are_a_problem() -> None:
    evaluators = [{"name": "tone", "llm": {"prompt": "Is it polite?", "choices": 5}}]
    said = {"messages": [{"role": "user", "content": "Hello."}], "testData": [{}], "evaluators": evaluators}

    found = translated(Tree({PROMPT: msgspec.json.encode(said)}), PROMPT)

    assert "choices: this is not a list." in str(found.problems[0])
