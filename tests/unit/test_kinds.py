"""What each kind asks for beyond its schema."""

import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops.domain.problems import Invalid
from llmops.gates import pull_request
from llmops.index.commits import Desired
from llmops.kinds import dataset, model
from llmops.kinds.dataset import Split
from llmops.kinds.evaluation import task_files
from llmops.language import user_schemas
from llmops.specs.settings import Settings
from tests.trees import Tree, build, problems, spec, system


def with_spec(text: str, **files: str) -> Tree:
    return Tree({**system(), "specs/new.yaml": text, **files})


# Dataset


def test_bad_rows_are_named_by_their_number() -> None:
    rows = '{"text": "a"}\n{"text": 1}\n\n{"words": "b"}\n[1]\n{"text": "c"\n'
    found = problems(with_spec(spec("Dataset", "d", "{format: text, sources: [{path: d.jsonl}]}"), **{"d.jsonl": rows}))

    assert [line.split(" ")[0] for line in found] == ["d.jsonl:2:", "d.jsonl:4:", "d.jsonl:5:", "d.jsonl:6:"]
    assert "$.text" in found[0]
    assert "missing required field `text`" in found[1]


def test_many_bad_rows_are_counted() -> None:
    rows = '{"no": 1}\n' * 500
    found = problems(with_spec(spec("Dataset", "d", "{format: text, sources: [{path: d.jsonl}]}"), **{"d.jsonl": rows}))

    assert len(found) == dataset.MOST_PROBLEMS + 1
    assert "490 more rows are wrong" in found[-1]


@pytest.mark.parametrize(
    ("format_", "row"),
    [
        ("text", '{"text": "a", "more": 1}'),
        ("messages", '{"messages": [{"role": "user", "content": "a"}]}'),
        ("prompt_completion", '{"prompt": "a", "completion": "b"}'),
        ("prompt_completion", '{"prompt": [{"role": "user", "content": "a"}], "completion": "b"}'),
        ("preference", '{"chosen": "a", "rejected": "b"}'),
        ("prompt", '{"prompt": "a"}'),
        ("rows", '{"anything": [1, 2]}'),
    ],
)
def test_rows_of_every_format_are_known(format_: str, row: str) -> None:
    text = spec("Dataset", "d", f"{{format: {format_}, sources: [{{path: d.jsonl}}]}}")

    build(with_spec(text, **{"d.jsonl": f"{row}\n"}))


def test_a_row_without_a_column_of_the_split_is_a_problem() -> None:
    text = spec("Dataset", "d", "{format: rows, sources: [{path: d.jsonl}], split: {test_fraction: 0.5, by: [key]}}")
    found = problems(with_spec(text, **{"d.jsonl": '{"key": 1}\n{"kye": 1}\n'}))

    assert found == [
        "d.jsonl:2: $: the row has no column key, by which the dataset is split. Correct the row or the dataset's format."
    ]


def test_a_row_never_changes_sides_when_others_come_or_go() -> None:
    rows = [{"text": str(number)} for number in range(200)]
    split = Split(test_fraction=0.25)

    sides = {row["text"]: dataset.is_test(row, split) for row in rows}

    assert 0.15 < sum(sides.values()) / 200 < 0.35
    assert all(dataset.is_test(row, split) is sides[row["text"]] for row in rows[50:120])


def test_a_corrected_label_stays_on_its_side_when_the_split_looks_at_the_question() -> None:
    split = Split(test_fraction=0.5, by=("question",))

    assert all(
        dataset.is_test({"question": n, "label": "a"}, split) is dataset.is_test({"question": n, "label": "b"}, split)
        for n in range(50)
    )


def test_another_seed_is_another_division() -> None:
    rows = [{"text": str(number)} for number in range(50)]

    one, other = ([dataset.is_test(row, Split(test_fraction=0.5, seed=seed)) for row in rows] for seed in (0, 1))

    assert one != other


def test_a_file_ending_that_no_row_is_read_from_is_refused() -> None:
    found = problems(with_spec(spec("Dataset", "d", "{format: messages, sources: [{path: d.csv}]}"), **{"d.csv": "a"}))

    assert "d.csv is not a file of rows. Use .jsonl." in found[0]


def test_a_row_that_is_nested_too_deep_is_a_bad_row() -> None:
    row = '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}\n"
    found = problems(with_spec(spec("Dataset", "d", "{format: rows, sources: [{path: d.jsonl}]}"), **{"d.jsonl": row}))

    assert "d.jsonl:1: the row is nested too deep." in found[0]


# Model


def test_a_model_folder_needs_a_config_and_safetensors() -> None:
    text = spec("Model", "m", "source: {path: weights/m}")

    assert "has no config.json" in problems(with_spec(text, **{"weights/m/pytorch_model.bin": "x"}))[0]
    assert "has no .safetensors" in problems(with_spec(text, **{"weights/m/config.json": "{}"}))[0]
    build(with_spec(text, **{"weights/m/config.json": "{}", "weights/m/model.safetensors": "x"}))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl"])
def test_a_model_folder_of_pickles_needs_a_reason(name: str) -> None:
    files = {"weights/m/config.json": "{}", f"weights/m/{name}": "x"}
    text = spec("Model", "m", "source: {path: weights/m}")

    assert "has only pickled weights, which can run code" in problems(with_spec(text, **files))[0]
    build(with_spec(f"{text}  allow_pickle: {{reason: ours}}\n", **files))
    assert problems(with_spec(f"{text}  allow_pickle: {{reason: ''}}\n", **files))
    assert problems(with_spec(f"{text}  allow_pickle: true\n", **files))


def source_at(uri: str) -> Tree:
    source = f"{{uri: '{uri}', digest: 'sha256:{'0' * 64}'}}"
    return with_spec(spec("Dataset", "d", f"format: rows\nsources: [{source}]"))


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@example.org/rows.jsonl",
        "https://hunter2@example.org/rows.jsonl",
        "zip://rows.jsonl::https://user:hunter2@example.org/rows.jsonl",
        "https://example.org/rows.jsonl?a=b&X-Amz-Signature=hunter2&f=.jsonl",
        "https://example.org/rows.jsonl?api_key=hunter2&f=.jsonl",
        "https://" + "a:" * 10_000 + "hunter2.jsonl",
        "",
    ],
    ids=range(7),
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_repeated(uri: str) -> None:
    found = problems(source_at(uri))

    assert "$.spec.sources[0].uri: this is not an address, or it contains a secret." in found[0]
    assert not any("hunter2" in line for line in found)


@pytest.mark.parametrize(
    "uri",
    ["https://example.org:8443/a@b/rows.jsonl", "s3://bucket/rows.jsonl", "sftp://user@example.org/rows.jsonl"],
)
def test_an_address_without_a_secret_is_taken(uri: str) -> None:
    build(source_at(uri))


@pytest.mark.parametrize(
    "field",
    ["store: {url: 's3://key:hunter2@bucket/x'}", "runner: {type: ray, config: {address: 'http://u:hunter2@h:1'}}"],
)
def test_an_address_in_the_settings_holds_no_secret(field: str) -> None:
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{{field}}}\n"
    found = problems(Tree({**system(), "llmops.yaml": settings}))

    assert "this is not an address, or it contains a secret." in found[0]
    assert "hunter2" not in found[0]


def test_what_is_wrong_between_settings_hides_nothing_of_the_specs() -> None:
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gate: {budget_cost: 5}}\n"
    wrong = spec("Deployment", "new", "model: zebra")

    found = problems(Tree({**system(), "llmops.yaml": settings, "specs/new.yaml": wrong}))

    assert len(found) == 2
    assert "llmops.yaml:3: $.spec.gate.budget_cost" in found[0]
    assert 'no Model or Training is called "zebra"' in found[1]


def test_a_secret_in_a_task_is_a_problem() -> None:
    task = "task: t\ndataset_path: org/rows\ndataset_kwargs: {revision: %s, token: hf_x}\n" % ("a" * 40)
    suite = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t.yaml}]}")
    found = problems(with_spec(suite, **{"evals/t.yaml": task}))

    assert "$.dataset_kwargs.token: a secret is written out here." in found[0]
    assert "hf_x" not in found[0]


@pytest.mark.parametrize("path", ["weights/m/", "weights//m", "./weights/m"])
def test_a_path_is_written_in_one_way_only(path: str) -> None:
    files = {"weights/m/config.json": "{}", "weights/m/model.safetensors": "x"}
    found = problems(with_spec(spec("Model", "m", f"source: {{path: {path}}}"), **files))

    assert f'"{path}" does not have the right form' in found[0]


def test_a_branch_of_the_hub_has_to_be_locked() -> None:
    text = spec("Model", "m", "source: {hf: {repo: org/name}}")

    assert "hf://org/name@main may change without a commit here" in problems(with_spec(text))[0]

    commit = "0123456789" * 4
    locked = build(with_spec(text, **{"llmops.lock": f'pins: {{"hf://org/name@main": "{commit}"}}\n'}))
    fixed = build(with_spec(spec("Model", "m", f"source: {{hf: {{repo: org/name, revision: '{commit}'}}}}")))
    assert {n.digest for n in locked.nodes.values()} == {n.digest for n in fixed.nodes.values()}


def test_a_model_card_lies_among_the_cards() -> None:
    text = spec("Model", "m", f"source: {{hf: {{repo: a/b, revision: {'a' * 40}}}}}\ncard: docs/m.md")

    assert "docs/m.md is not a model card" in problems(with_spec(text, **{"docs/m.md": "x"}))[0]


def desired(tree: Tree) -> Desired:
    return Desired("c" * 40, tree, Settings(), build(tree))  # type: ignore[arg-type]


@pytest.mark.parametrize("old", model.STAGES)
@pytest.mark.parametrize("new", model.STAGES)
def test_a_model_goes_through_its_stages_one_at_a_time_and_back_the_same_way(old: str, new: str) -> None:
    def tree(stage: str) -> Tree:
        return with_spec(spec("Model", "m", f"source: {{hf: {{repo: a/b, revision: {'a' * 40}}}}}\nstage: {stage}"))

    legal = abs(model.STAGES.index(old) - model.STAGES.index(new)) <= 1
    if legal:
        pull_request.find_affected(desired(tree(old)), desired(tree(new)))
    else:
        with pytest.raises(Invalid, match="in one step"):
            pull_request.find_affected(desired(tree(old)), desired(tree(new)))


# Prompt


@pytest.mark.parametrize(
    "schema",
    [
        "{}",
        "{type: string, minLength: 1, maxLength: 9, description: what is asked}",
        "{type: array, items: {type: integer, minimum: 0, maximum: 9}, maxItems: 3}",
        "{type: object, properties: {a: {enum: [1, b]}, b: true}, title: t, default: {}}",
        "{type: [string, 'null'], pattern: '^a+$'}",
        "{anyOf: [{const: 1}, {type: number}]}",
    ],
)
def test_variables_have_any_json_schema(schema: str) -> None:
    body = f"{{messages: [{{role: user, content: '{{{{ a }}}}'}}], variables: {{a: {schema}}}}}"

    build(with_spec(spec("Prompt", "p", body)))


def test_a_pattern_that_is_nested_too_deep_is_not_a_schema() -> None:
    body = f"{{messages: [{{role: user, content: '{{{{ a }}}}'}}], variables: {{a: {{pattern: '{'(' * 9999}'}}}}}}"

    assert "Schema" in problems(with_spec(spec("Prompt", "p", body)))[0]


WORDS = st.sampled_from(
    ["type", "items", "properties", "enum", "const", "default", "minLength", "maximum", "title", "x"]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["string", "array", "null", "x"])
SCHEMAS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(WORDS, SCHEMAS, max_size=3))
def test_the_short_way_to_a_schema_says_the_same_as_jsonschema(schema: dict[str, Any]) -> None:
    is_one = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA).is_valid(schema)

    found = [problem.what for problem in user_schemas.problems(schema, "")]

    assert any(what.startswith("this is not a JSON Schema") for what in found) is not is_one


def test_a_plain_schema_is_known_without_jsonschema() -> None:
    code = (
        "import sys; from llmops.kinds.prompt import KIND, Prompt, Message; from llmops.registry import PLUGINS\n"
        "prompt = Prompt(messages=(Message(role='user', content='{{ a }}'),), variables={'a': {'type': 'string'}})\n"
        "assert not list(KIND.check(prompt, PLUGINS)) and 'jsonschema' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mistake_in_a_template_file_is_shown_there() -> None:
    text = spec("Prompt", "p", "template: prompts/p.jinja")

    assert problems(with_spec(text, **{"prompts/p.jinja": "one\ntwo {% if %}\n"}))[0].startswith("prompts/p.jinja:2: ")


# Evaluation


def test_what_a_task_includes_imports_and_reads_is_part_of_the_evidence() -> None:
    files = {
        "evals/t/task.yaml": "include: _base.yaml\ntask: t\nprocess_docs: !function helpers.clean\n",
        "evals/t/_base.yaml": "dataset_path: json\ndataset_kwargs: {data_files: {test: data/test.jsonl}}\n",
        "evals/t/helpers.py": "def clean(rows): return rows\n",
        "data/test.jsonl": "{}\n",
    }
    tree = with_spec(spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t/task.yaml}]}"), **files)

    def unit(one: Tree) -> str:
        return next(node.units[0].digest for key, node in build(one).nodes.items() if key.name == "e")

    for path in files:
        assert unit(tree) != unit(Tree({**tree, path: tree[path] + b"# more\n"})), path
    assert "there is no file evals/t/helpers.py" in problems(tree.without("evals/t/helpers.py"))[0]


def suite_of(task: str, **files: str) -> Tree:
    text = spec("Evaluation", "e", f"{{subject: {{model: tuned}}, suites: [{{task: {task}}}]}}")
    return with_spec(text, **files)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", ["/data/x.yaml", "//x.yaml", "../x.yaml", "../../x.yaml"])
def test_a_task_and_what_it_includes_lie_in_the_repository(path: str) -> None:
    task = f"task: t\ninclude: {path}\ndataset_path: json\n"

    for tree in (suite_of(path), suite_of("x.yaml", **{"x.yaml": task})):
        (found,) = problems(tree)
        assert found.startswith("specs/new.yaml:5: $.spec.suites[0].task: ")
        assert found.endswith(" is outside of this repository. Commit it here, and give its path from the root.")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", ["/data/x.jsonl", "../x.jsonl", "a/../../x.jsonl"])
def test_the_rows_of_a_task_lie_in_the_repository(path: str) -> None:
    task = f"task: t\ndataset_path: json\ndataset_kwargs: {{data_files: {path}}}\n"

    assert f"{path} is outside of this repository." in problems(suite_of("evals/t.yaml", **{"evals/t.yaml": task}))[0]


def test_what_is_included_is_read_whatever_its_ending() -> None:
    files = {
        "evals/t.yaml": "include: _template\ntask: t\n",
        "evals/_template": "include: [_more]\ndataset_path: json\n",
        "evals/_more": "process_docs: !function helpers.clean\n",
    }

    assert "there is no file evals/helpers.py" in problems(suite_of("evals/t.yaml", **files))[0]
    files |= {"evals/helpers.py": "", "evals/_more": "a: [1"}
    assert "evals/_more:2: this is not a task of lm-eval: " in problems(suite_of("evals/t.yaml", **files))[0]


def test_rows_that_an_included_file_names_are_pinned_there_or_nearer() -> None:
    files = {"evals/t.yaml": "include: u\ntask: t\n", "evals/u": "dataset_path: org/rows\n"}

    assert "evals/u:1: $.dataset_path: the rows of org/rows" in problems(suite_of("evals/t.yaml", **files))[0]
    files["evals/t.yaml"] += f"dataset_kwargs: {{revision: {'a' * 40}}}\n"
    build(suite_of("evals/t.yaml", **files))


def test_tasks_may_include_one_another() -> None:
    files = {"evals/t.yaml": "include: [t.yaml, u]\ntask: t\n", "evals/u": "include: t.yaml\ndataset_path: json\n"}

    build(suite_of("evals/t.yaml", **files))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("[" * 200_000, "nested more than 50 deep"),
        ("? " * 50_000, "nested more than 50 deep"),
        ("a: " + "x" * 1_100_000, "over the limit"),
        ("a: b\n---\na: b", "not one mapping"),
        ("task: t\ndataset_path: json\ndataset_kwargs: [a]", "$.dataset_kwargs: this is not a mapping"),
        (
            "task: t\ndataset_path: json\ndataset_kwargs: {data_files: &a [*a]}",
            "an alias refers to a value that contains it",
        ),
        (
            "task: t\ndataset_path: json\ndataset_kwargs: {data_files: [{}, '', 1]}\noutput_type: [a]",
            "is not an output type",
        ),
        ("task: t\na: !!timestamp x", "the tag !!timestamp is not allowed"),
        ("task: t\n<<: {a: b}", "'<<' (merge)"),
    ],
)
def test_hostile_task_files_are_problems(task: str, words: str) -> None:
    assert any(words in line for line in problems(suite_of("evals/t.yaml", **{"evals/t.yaml": task})))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("task: t\ndoc_to_txt: x\ndataset_path: json\n", 'no such task field. Did you mean "doc_to_text"?'),
        ("task: t\noutput_type: choice\ndataset_path: json\n", '"choice" is not an output type'),
        ("task: t\n", "the task has no rows"),
        ("task: [t\n", "not a task of lm-eval"),
        ("task: t\ndataset_path: org/rows\n", "the rows of org/rows are on the hub and may change"),
        ("task: t\ndataset_path: org/rows\ndataset_kwargs: {revision: main}\n", "are on the hub and may change"),
    ],
)
def test_task_files_are_checked(task: str, words: str) -> None:
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t.yaml}]}")

    assert words in problems(with_spec(text, **{"evals/t.yaml": task}))[0]


def test_a_task_may_take_rows_of_the_hub_at_a_commit() -> None:
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t.yaml}]}")
    task = f"task: t\ndataset_path: org/rows\ndataset_kwargs: {{revision: {'a' * 40}}}\n"

    build(with_spec(text, **{"evals/t.yaml": task}))


def test_a_built_in_task_has_to_be_locked() -> None:
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: hellaswag}]}")

    assert "lm-eval://hellaswag may change" in problems(with_spec(text))[0]


def test_reading_a_task_runs_nothing_of_it() -> None:
    found = task_files.read(b"task: t\na: !function os.abort\n")

    assert found.functions == ("os.abort",)
