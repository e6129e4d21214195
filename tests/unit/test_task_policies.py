"""What a task file may contain: `check` reports everything else, with its line."""

from __future__ import annotations

import pytest
from jinja2 import TemplateError

from llmops.language import task_templates
from llmops.language.jinja import InvalidTemplate
from tests.trees import Tree, build, problems, spec, system

HUB = f"dataset_path: org/rows\ndataset_kwargs: {{revision: {'a' * 40}}}\n"


def suite(task: str, **files: str) -> Tree:
    """A commit with one task over the rows of a dataset."""
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t.yaml, dataset: rows}]}")
    return Tree({**system(), "specs/new.yaml": text, "evals/t.yaml": f"task: t\n{task}", **files})


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("""doc_to_text: "{{ cycler.__init__.__globals__.os.popen('id').read() }}\"""", "doc_to_text"),
        ("""doc_to_target: "{{ ''['__class__'] }}\"""", "doc_to_target"),
        ("""doc_to_choice: "{{ lipsum() }}\"""", "doc_to_choice"),
        ("""description: "{% include '/etc/passwd' %}\"""", "description"),
        ("""gen_prefix: "{{ x.format(1) }}\"""", "gen_prefix"),
        ("""gen_prefix: "{{ image.save('/tmp/x') }}\"""", "gen_prefix"),
        ("""doc_to_decontamination_query: "{{ x|unknown }}\"""", "doc_to_decontamination_query"),
        ("""doc_to_image: [a, "{{ a.__dict__ }}"]""", "doc_to_image[1]"),
        ("""fewshot_config: {doc_to_text: "{{ a.__dict__ }}"}""", "fewshot_config.doc_to_text"),
        ("fewshot_config: {sampler: manual}", "fewshot_config.sampler"),
        ("fewshot_config: {from: elsewhere}", "fewshot_config.from"),
        ("metric_list: [{metric: attacker/evil}]", "metric_list[0].metric"),
        ("metric_list: [{metric: acc}, {metric: acc, hf_evaluate: true}]", "metric_list[1].hf_evaluate"),
        ("metric_list: [{metric: acc, aggregation: attacker/evil}]", "metric_list[0].aggregation"),
        ("metric_list: {metric: acc}", "metric_list"),
        ("metric_list: [{metric: acc, more: !function a.b}]", "metric_list[0].more"),
        (
            "filter_list: [{name: a, filter: [{function: decontaminate, path: /etc}]}]",
            "filter_list[0].filter[0].function",
        ),
        ("filter_list: [{name: a, more: 1, filter: []}]", "filter_list[0].more"),
        ("generation_kwargs: {custom_generate: org/code}", "generation_kwargs.custom_generate"),
        ("generation_kwargs: {trust_remote_code: true}", "generation_kwargs.trust_remote_code"),
        ("generation_kwargs: {assistant_model: org/model}", "generation_kwargs.assistant_model"),
        ("generation_kwargs: {temperature: !function a.b}", "generation_kwargs.temperature"),
        ("dataset_kwargs: {trust_remote_code: true}", "dataset_kwargs.trust_remote_code"),
        ("dataset_kwargs: {data_dir: /etc}", "dataset_kwargs.data_dir"),
        ("dataset_kwargs: {data_dir: rows}", "dataset_kwargs.data_dir"),
        ("dataset_kwargs: {storage_options: {}}", "dataset_kwargs.storage_options"),
        ("dataset_kwargs: {data_files: /etc/passwd}", "dataset_kwargs.data_files"),
        ("dataset_kwargs: {data_files: ~/rows}", "dataset_kwargs.data_files"),
        ("dataset_kwargs: {data_files: [a, ../x]}", "dataset_kwargs.data_files[1]"),
        ("dataset_kwargs: {data_files: {test: 'https://host/x'}}", "dataset_kwargs.data_files.test"),
        ("dataset_kwargs: {data_files: 'zip://a::b'}", "dataset_kwargs.data_files"),
        ("dataset_kwargs: {data_files: 'rows/*.json'}", "dataset_kwargs.data_files"),
        ("dataset_path: /etc", "dataset_path"),
        ("dataset_path: ../../etc", "dataset_path"),
        ("dataset_path: 'hf://datasets/a/b'", "dataset_path"),
        ("dataset_path: !function a.b", "dataset_path"),
        ("process_docs: print", "process_docs"),
        ("process_docs: !function print", "process_docs"),
        ("process_docs: !function ../../etc/x.run", "process_docs"),
        ("custom_dataset: json", "custom_dataset"),
        ("unsafe_code: true", "unsafe_code"),
        ("unsafe_code: yes", "unsafe_code"),
        ("use_prompt: /etc/prompts.yaml:x", "use_prompt"),
        ("class: !function a.b", "class"),
        ("task_list: []", "task_list"),
        ("num_fewshot: two", "num_fewshot"),
    ],
)
def test_what_no_policy_allows_is_a_problem_with_its_line(field: str, place: str) -> None:
    found = problems(suite(f"output_type: generate_until\n{field}\n", **{"evals/a.py": ""}))

    assert any(line.startswith(f"evals/t.yaml:3: $.{place}: ") for line in found), found


def test_what_a_file_includes_has_the_same_policies() -> None:
    found = problems(suite("include: _base\n", **{"evals/_base": "\nunsafe_code: true\nextra: 1\n"}))

    assert [line.partition(": ")[0] for line in found] == ["evals/_base:2", "evals/_base:3"]


@pytest.mark.parametrize(
    "field",
    [
        "doc_to_text: question\ndoc_to_target: 1\ndoc_to_choice: [no, yes]\ntarget_delimiter: ''",
        'doc_to_text: "{{question.strip()}}\\nAnswer:"\ndoc_to_target: "{{choices.index(answer)}}"',
        "doc_to_target: \"{{['A', 'B'].index(answer)}}\"\ndoc_to_choice: \"{{choices.text}}\"",
        "doc_to_text: \"{{a.replace('x', 'y').split('z')|join}}{{a|regex_replace('[.]', '')}}\"",
        "doc_to_text: \"{% for i in range(n|length) %}{{loop.cycle('a', 'b')}}{% endfor %}\"",
        'doc_to_text: "{% macro m(x) %}{{x}}{% endmacro %}{{m(1)}}"',
        'doc_to_choice: {a: "{{x.format(1)}}"}',
        "unsafe_code: false\nprocess_docs: null",
        "process_results: !function a.b\nmetric_list: [{metric: my own, aggregation: mean, higher_is_better: true}]",
        "metric_list: [{metric: !function a.b, aggregation: !function a.b, higher_is_better: true, more: [1]}]",
        "metric_list: [{metric: exact_match, ignore_case: true, regexes_to_ignore: [',']}]",
        "filter_list: [{name: a, filter: [{function: regex, regex_pattern: x}, {function: custom, filter_fn: !function a.b}]}]",
        "generation_kwargs: {until: [a], max_gen_toks: 5, do_sample: false, temperature: 0.0}",
        "dataset_path: json\ndataset_kwargs: {data_files: {test: rows/test.jsonl}}",
        "dataset_path: org/rows\ndataset_name: main\ntest_split: test",
        "custom_dataset: !function a.b\ndataset_kwargs: {anything: [1]}\nmetadata: {version: 1}",
        "fewshot_config: {sampler: first_n, samples: [{question: a}], split: train}\nnum_fewshot: 1",
        "fewshot_config: {samples: !function a.b}",
    ],
)
def test_what_tasks_usually_say_is_allowed(field: str) -> None:
    build(suite(f"{field}\n", **{"evals/a.py": ""}))


def test_a_function_may_be_in_a_module_below() -> None:
    field = "process_docs: !function tools.text.clean\n"

    assert "there is no file evals/tools/text.py" in problems(suite(field))[0]
    build(suite(field, **{"evals/tools/text.py": ""}))


def test_files_of_rows_on_the_hub_are_not_files_of_the_commit() -> None:
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t.yaml}]}")
    task = f"task: t\n{HUB.replace('{rev', '{data_files: data/test.parquet, rev')}"
    tree = Tree({**system(), "specs/new.yaml": text, "evals/t.yaml": task})

    build(tree)
    assert "have no owner" in problems(tree.edited("evals/t.yaml", "org/rows", "pandas"))[0]


def test_a_later_include_overrides_an_earlier_one() -> None:
    files = {"evals/a": "dataset_path: json\n", "evals/b": "dataset_path: org/rows\n"}
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/t.yaml}]}")
    tree = Tree({**system(), "specs/new.yaml": text, **files, "evals/t.yaml": "task: t\ninclude: [b, a]\n"})

    build(tree)
    assert "the rows of org/rows" in problems(tree.edited("evals/t.yaml", "[b, a]", "[a, b]"))[0]


def test_a_group_is_not_a_suite() -> None:
    """The task files in it are named: benchmarks come as a group and a list of tasks."""
    group = "group: arithmetic\ntask: [sums, products]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n"
    text = spec("Evaluation", "e", "{subject: {model: tuned}, suites: [{task: evals/_group.yaml}]}")

    found = problems(Tree({**system(), "specs/new.yaml": text, "evals/_group.yaml": group}))

    what = "this is a group of tasks, and a suite is one task."
    remedy = "Declare a suite for each of its tasks: evals/sums.yaml, products."
    assert found == [f"evals/_group.yaml:1: $.group: {what} {remedy}"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x'.replace('x', 'y' * 5000).replace('y', 'z' * 5000) }}",
        "{{ 'x'.ljust(99999999) }}",
        "{{ 'x' * 99999999 }}",
        "{{ [1] * 99999999 }}",
        "{{ (text * 100).join(range(100000)) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x",
        "{{ range(99999999)|list }}",
        "{{ text|regex_replace('', 'x' * 9000) }}{{ text|regex_replace('', 'x' * 9000)|regex_replace('', 'x' * 9000) }}",
        "{% set ns = 2 %}{{ 99999 * 99999 * 99999 * 99999 * 99999 }}",
        "{{ '%9999999d' % 1 }}",
        "{{ text.format(1) }}",
        "{{ row.write('x') }}",
        "{{ text|attr('__class__') }}",
    ],
)
def test_a_template_of_a_task_has_a_budget(template: str) -> None:
    class Row:
        def write(self, text: str) -> None:
            raise AssertionError(text)

    with pytest.raises((TemplateError, ValueError)):
        task_templates.render(template, {"text": "abc" * 100, "row": Row()})


def test_a_long_row_may_take_more_steps() -> None:
    text = "word " * 400_000

    assert task_templates.render("{{ text.strip() }}!", {"text": text}) == f"{text.strip()}!"


def test_a_pattern_that_needs_exponential_time_is_linear_here() -> None:
    assert task_templates.render("{{ text|regex_replace('(a+)+$', '') }}", {"text": "a" * 5000 + "b"}).endswith("ab")
    assert task_templates.render(r"{{ text|regex_replace('(a)(b)', '\\2\\1') }}", {"text": "ab"}) == "ba"


def test_a_template_with_a_mistake_names_its_line() -> None:
    with pytest.raises(InvalidTemplate) as error:
        task_templates.check("a\n{{ b.c() }}")

    assert (error.value.line, error.value.what) == (2, "a template cannot call c.")


def digests(task: str, *suites: str) -> list[str]:
    """The units of suites that ask by one task file."""
    text = spec("Evaluation", "e", f"{{subject: {{model: tuned}}, suites: [{', '.join(suites)}]}}")
    tree = Tree({**system(), "specs/new.yaml": text, "evals/t.yaml": f"task: t\n{task}"})
    return [unit.digest for key, node in build(tree).nodes.items() if key.name == "e" for unit in node.units]


def test_the_number_of_examples_of_a_file_counts_unless_the_suite_has_one() -> None:
    plain, none, two = (
        f"{{task: evals/t.yaml, dataset: rows, name: {name}{more}}}"
        for name, more in (("a", ""), ("b", ", num_fewshot: 0"), ("c", ", num_fewshot: 2"))
    )

    without = digests("output_type: generate_until\n", plain, none, two)
    own = digests("output_type: generate_until\nnum_fewshot: 2\n", plain, none, two)

    assert (without[0] == without[1], without[0] == without[2]) == (True, False)
    assert len(set(own)) == 3


def test_examples_in_the_file_count_where_they_are_shown() -> None:
    """They are in the digest of a suite that shows examples, and of no other."""
    samples = "fewshot_config: {samples: [{question: a}]}\n"
    suites = [
        "{task: evals/t.yaml, dataset: rows, name: a}",
        "{task: evals/t.yaml, dataset: rows, name: b, num_fewshot: 1}",
    ]
    text = spec("Evaluation", "e", f"{{subject: {{model: tuned}}, suites: [{', '.join(suites)}]}}")
    node = next(
        node
        for key, node in build(
            Tree({**system(), "specs/new.yaml": text, "evals/t.yaml": f"task: t\n{samples}"})
        ).nodes.items()
        if key.name == "e"
    )

    assert [use.at for use in node.spec.files if use.at.endswith(":num_fewshot")] == ["suites[1].task:num_fewshot"]
