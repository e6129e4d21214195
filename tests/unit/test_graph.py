"""What names a resource, and what does not."""

import pytest

from llmops.domain.resources import Key
from tests.trees import Tree, build, problems, spec, system

TUNED, SUMS, CHAT = Key("Training", "tuned"), Key("Evaluation", "sums"), Key("Deployment", "chat")


def digests(tree: Tree) -> dict[Key, str]:
    return {key: node.digest for key, node in build(tree).nodes.items()}


def changed(before: Tree, after: Tree) -> set[str]:
    old, new = digests(before), digests(after)
    return {str(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("specs/tuned.yaml", "name: tuned}", "name: tuned, description: better, owner: me, labels: {a: b}}"),
        ("specs/tuned.yaml", "  task: sft\n", "  # a comment\n  task:   sft\n"),
        ("specs/tuned.yaml", "  base: base\n", "  base: base\n  resources: {workers: 2, cpus: 2}\n"),
        ("specs/tuned.yaml", "  base: base\n", "  base: base\n  checkpoint: {save_steps: 5}\n"),
        ("specs/tuned.yaml", "  base: base\n", "  base: base\n  seed: 42\n"),  # the default, written out
        ("specs/tuned.yaml", "base: base", "base: Training/base"),
        ("specs/sums.yaml", "limit: 1}", "limit: 1, gate: {rule: minimum, value: 0.5}}"),
        ("specs/sums.yaml", "name: few", "name: little"),
        ("specs/sums.yaml", "limit: 1}", "limit: 1, gate: {on_inconclusive: neutral, detect: 0.1, alpha: 0.01}}"),
        ("specs/sums.yaml", "limit: 1}", "limit: 1, metric: exact_match}"),
        ("specs/sums.yaml", "limit: 1}", "limit: 1, trials: 3}"),
        ("specs/chat.yaml", "requires: [sums]", "requires: [sums]\n  replicas: 3"),
        ("specs/chat.yaml", "requires: [sums]", "requires: []"),
        ("specs/chat.yaml", "requires: [sums]", "requires: [sums]\n  keep_warm: {revisions: 2, for: 5m}"),
        ("specs/chat.yaml", "requires: [sums]", "requires: [sums]\n  engine: {type: transformers}"),
        ("specs/chat.yaml", "requires: [sums]", "requires: [sums]\n  engine: {config: {threads: 4}}"),
    ],
)
def test_what_decides_nothing_is_in_no_digest(path: str, old: str, new: str) -> None:
    assert changed(system(), system().edited(path, old, new)) == set()


def test_moving_files_and_splitting_specs_changes_nothing() -> None:
    tree = system()
    both = tree["specs/corpus.yaml"] + b"---\n" + tree["specs/rows.yaml"]
    moved = Tree({**tree.without("specs/corpus.yaml", "specs/rows.yaml"), "specs/sub/data.yml": both})
    moved = Tree({**moved.without("data/rows.jsonl"), "other/rows.jsonl": tree["data/rows.jsonl"]})
    moved = moved.edited("specs/sub/data.yml", "data/rows.jsonl", "other/rows.jsonl")

    assert changed(tree, moved) == set()


def test_a_file_without_an_ending_can_be_called_anything() -> None:
    text = spec("Prompt", "p", "template: prompts/one\nvariables: {}")
    tree = Tree({**system(), "specs/p.yaml": text, "prompts/one": "Hello\n"})
    moved = Tree({**tree.without("prompts/one"), "prompts/two": "Hello\n"})

    assert changed(tree, moved.edited("specs/p.yaml", "prompts/one", "prompts/two")) == set()


@pytest.mark.parametrize(
    ("path", "old", "new", "follow"),
    [
        (
            "specs/tuned.yaml",
            "max_steps: 10",
            "max_steps: 11",
            {"Training/tuned", "Evaluation/sums", "Deployment/chat"},
        ),
        ("data/rows.jsonl", "1+1", "1 + 1", {"Dataset/rows", "Training/tuned", "Evaluation/sums", "Deployment/chat"}),
        (
            "prompts/ask.jinja",
            "{{ question }}",
            "Q: {{ question }}",
            {"Prompt/ask", "Evaluation/sums", "Deployment/chat"},
        ),
        ("evals/sums.yaml", "doc_to_text: x", "doc_to_text: z", {"Evaluation/sums"}),
        ("specs/sums.yaml", "limit: 1", "limit: 2", {"Evaluation/sums"}),
        ("specs/sums.yaml", "limit: 1", "limit: 1, cluster: passage", {"Evaluation/sums"}),
        ("specs/chat.yaml", "requires: [sums]", "engine: {config: {cb_num_blocks: 99}}", {"Deployment/chat"}),
    ],
)
def test_what_decides_something_changes_what_leans_on_it_and_nothing_else(
    path: str, old: str, new: str, follow: set[str]
) -> None:
    assert changed(system(), system().edited(path, old, new)) == follow


def test_a_suite_is_a_unit_of_its_own_wherever_it_stands_in_the_list() -> None:
    turned = system().edited("specs/sums.yaml", "    - {task: evals/sums.yaml, dataset: rows}\n", "")
    turned = turned.edited(
        "specs/sums.yaml", "limit: 1}\n", "limit: 1}\n    - {task: evals/sums.yaml, dataset: rows}\n"
    )

    before, after = build(system())[SUMS].units, build(turned)[SUMS].units

    assert [unit.digest for unit in before] == [unit.digest for unit in reversed(after)]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("specs/sums.yaml", "limit: 1", "limit: 2"),
        ("specs/sums.yaml", "limit: 1", "limit: 1, num_fewshot: 3"),
        ("specs/sums.yaml", "subject:", "apply_chat_template: true\n  subject:"),
        ("specs/sums.yaml", "subject:", "batch_size: 4\n  subject:"),
        ("specs/sums.yaml", "subject:", "dtype: bfloat16\n  subject:"),
        ("specs/sums.yaml", "subject:", "device: cuda\n  subject:"),
        ("specs/sums.yaml", "subject:", "seed: 2\n  subject:"),
        ("specs/ask.yaml", "template:", "parameters: {temperature: 0.5}\n  template:"),
        ("specs/ask.yaml", "template:", "parameters: {max_tokens: 5}\n  template:"),
        ("specs/ask.yaml", "template:", "parameters: {stop: [END]}\n  template:"),
        ("evals/sums.yaml", "doc_to_text: x", "doc_to_text: x\ngeneration_kwargs: {max_gen_toks: 5}"),
    ],
)
def test_whatever_decides_what_is_asked_and_how_is_asked_anew(path: str, old: str, new: str) -> None:
    before, after = (build(tree)[SUMS].units[1] for tree in (system(), system().edited(path, old, new)))

    assert before.label == after.label == "few"
    assert before.digest != after.digest


def test_a_trial_is_a_unit_of_its_own_and_the_first_is_the_suite_without_others() -> None:
    def trials(number: int) -> list[tuple[str, str, int]]:
        tree = system().edited("specs/sums.yaml", "limit: 1}", f"limit: 1, trials: {number}}}")
        units = build(tree)[SUMS].units
        return [(unit.digest, unit.label, unit.trial) for unit in units if unit.part == "suites[1]"]

    one, two, three = trials(1), trials(2), trials(3)

    assert one == [(build(system())[SUMS].units[1].digest, "few", 0)]
    assert two == three[:2]
    assert two[:1] == one
    assert [(label, trial) for _, label, trial in three] == [("few", 0), ("few, trial 2", 1), ("few, trial 3", 2)]
    assert len({digest for digest, *_ in three}) == 3


def test_adding_a_suite_leaves_the_evidence_of_the_others() -> None:
    more = system().edited(
        "specs/sums.yaml",
        "limit: 1}\n",
        "limit: 1}\n    - {name: more, task: evals/sums.yaml, dataset: rows, num_fewshot: 2}\n",
    )

    before = {unit.digest for unit in build(system())[SUMS].units}
    after = [unit.digest for unit in build(more)[SUMS].units]

    assert set(after[:2]) == before
    assert after[2] not in before


def test_another_engine_option_makes_a_revision_but_prepares_nothing_again() -> None:
    tree = system()
    after = tree.edited("specs/chat.yaml", "requires: [sums]", "engine: {config: {cb_num_blocks: 99}}")

    assert build(tree)[CHAT].digest != build(after)[CHAT].digest
    assert build(tree)[CHAT].units == build(after)[CHAT].units


def test_a_reference_to_a_broken_spec_is_not_a_second_problem() -> None:
    found = problems(system().edited("specs/base.yaml", "vocab_size: 512", "vocab_size: many"))

    assert len(found) == 1
    assert "vocab_size" in found[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [("vocab_size: 512", "vocab_size: [512"), ("kind: Training", "kind: Trainng"), ("{name: base}", "{}")],
)
def test_a_name_that_may_stand_in_what_cannot_be_read_is_not_a_second_problem(old: str, new: str) -> None:
    (found,) = problems(system().edited("specs/base.yaml", old, new))

    assert found.startswith("specs/base.yaml:")


def test_a_name_of_two_kinds_has_to_be_qualified() -> None:
    model = spec("Model", "base", "source: {hf: {repo: a/b, revision: " + "a" * 40 + "}}")
    tree = Tree({**system(), "specs/model.yaml": model})

    assert "Write which: Model/base." in problems(tree)[0]
    build(tree.edited("specs/tuned.yaml", "base: base", "base: Training/base"))


def model(stage: str) -> str:
    return spec("Model", "given", f"source: {{hf: {{repo: a/b, revision: {'a' * 40}}}}}\nstage: {stage}")


@pytest.mark.parametrize("stage", ["draft", "candidate", "archived"])
def test_only_an_approved_model_may_serve(stage: str) -> None:
    tree = Tree({**system(), "specs/m.yaml": model(stage), "specs/d.yaml": spec("Deployment", "d", "model: given")})

    assert "only an approved model may serve, and Deployment/d still depends on it" in problems(tree)[0]
    build(tree.edited("specs/m.yaml", f"stage: {stage}", "stage: approved"))


def test_what_was_tuned_from_a_draft_may_not_serve_either() -> None:
    tuned = spec("Training", "t", "{task: sft, base: given, datasets: [{name: rows}]}")
    tree = Tree({**system(), "specs/m.yaml": model("draft"), "specs/t.yaml": tuned})
    build(tree)  # training from it is allowed

    found = problems(Tree({**tree, "specs/d.yaml": spec("Deployment", "d", "model: t")}))

    assert 'Model/given is in stage "draft"' in found[0]


def test_a_retired_model_names_everything_that_still_leans_on_it() -> None:
    tuned = spec("Training", "t", "{task: sft, base: given, datasets: [{name: rows}]}")
    evaluation = spec("Evaluation", "e", "{subject: {model: given}, suites: [{task: evals/sums.yaml, dataset: rows}]}")
    tree = Tree({**system(), "specs/m.yaml": model("retired"), "specs/t.yaml": tuned, "specs/e.yaml": evaluation})

    assert problems(tree) == [
        (
            "specs/m.yaml:6: $.spec.stage: Model/given is retired, and Evaluation/e and Training/t still depend on it. "
            "Change those first."
        )
    ]


def test_a_required_evaluation_has_to_be_about_the_model_that_serves() -> None:
    tree = system().edited("specs/chat.yaml", "model: tuned", "model: base")

    assert "Evaluation/sums does not evaluate Training/base" in problems(tree)[0]
