"""How a difference is described."""

from llmops.domain.plans import Sign
from llmops.domain.resources import Key
from llmops.specs import diff
from llmops.specs.graph import EMPTY
from tests.trees import Tree, build, spec, system


def signs(before: Tree, after: Tree) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {str(c.key): (c.sign.value, c.because) for c in diff.compare(build(before), build(after))}


def test_an_edit_says_what_and_the_others_say_whom_they_follow() -> None:
    found = signs(system(), system().edited("specs/tuned.yaml", "r: 8", "r: 16"))

    assert found == {
        "Training/tuned": ("~", ("lora.r: (default) -> 16",)),
        "Evaluation/sums": ("^", ("follows Training/tuned",)),
        "Deployment/chat": ("^", ("follows Training/tuned",)),
    }


def test_an_edit_that_decides_nothing_is_shown_as_kept() -> None:
    after = system().edited("specs/chat.yaml", "requires: [sums]", "requires: [sums]\n  replicas: 2")

    assert signs(system(), after) == {"Deployment/chat": ("=", ("replicas: (default) -> 2",))}


def test_a_changed_file_is_named() -> None:
    found = signs(system(), system().edited("data/corpus.txt", "read", "see"))

    assert found["Dataset/corpus"] == ("~", ("data/corpus.txt changed",))


def test_another_reference_is_named() -> None:
    tree = Tree(
        {**system(), "specs/other.yaml": spec("Dataset", "other", "format: text\nsources: [{path: data/corpus.txt}]")}
    )
    after = tree.edited("specs/base.yaml", "datasets: [{name: corpus}]", "datasets: [{name: other}]")
    after = after.edited("specs/other.yaml", "format: text", "format: text\n  split: {test_fraction: 0.5}")

    assert "datasets[0].name: Dataset/corpus -> Dataset/other" in signs(tree, after)["Training/base"][1]


def test_long_lists_of_differences_are_counted() -> None:
    arguments = "{max_steps: 11, learning_rate: 0.1, warmup_steps: 3, weight_decay: 0.2, adam_beta1: 0.5, bf16: true}"
    found = signs(system(), system().edited("specs/tuned.yaml", "{max_steps: 10}", arguments))

    assert len(found["Training/tuned"][1]) == 6
    assert found["Training/tuned"][1][-1] == "and 1 more"


def test_what_comes_is_listed_in_order_and_what_goes_in_reverse() -> None:
    whole = build(system())

    coming = [change.key for change in diff.compare(EMPTY, whole)]
    going = [change.key for change in diff.compare(whole, EMPTY)]

    assert coming == list(whole.nodes)
    assert going == list(reversed(coming))


def test_why_leads_to_the_first_input_that_differs() -> None:
    old, new = build(system()), build(system().edited("data/corpus.txt", "read", "see"))

    chain = diff.why(old, new, Key("Deployment", "chat"))

    assert [str(change.key) for change in chain] == [
        "Deployment/chat",
        "Training/tuned",
        "Training/base",
        "Dataset/corpus",
    ]
    assert [change.sign for change in chain] == [Sign.FOLLOW, Sign.FOLLOW, Sign.FOLLOW, Sign.EDIT]
    assert chain[-1].because == ("data/corpus.txt changed",)


def test_why_of_something_unchanged_is_empty() -> None:
    graph = build(system())

    assert diff.why(graph, graph, Key("Deployment", "chat")) == ()
