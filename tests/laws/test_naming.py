"""Whatever order resources come in, they are named alike, and the same is wrong with them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmops import registry
from llmops.domain.problems import Invalid, Problem
from llmops.domain.resources import Key, Node
from llmops.specs import graph, loading
from llmops.specs.loading import ParsedCommit
from tests.laws.strategies import BREAKS, CALM, trees
from tests.trees import Tree, spec, system

SUITE = "suites: [{task: evals/t.yaml, dataset: a, limit: 1}]"
MORE = {
    "two of a name": {"specs/x1.yaml": spec("Training", "m", "{task: sft, base: tb, datasets: [{name: a}]}")},
    "an evaluation of a deployment that requires it": {
        "specs/x2.yaml": spec("Evaluation", "live", f"{{subject: {{deployment: s}}, {SUITE}}}"),
        "specs/x3.yaml": spec("Deployment", "s", "{model: ta, prompt: p, requires: [live]}"),
    },
    "a requirement that is not there": {"specs/x4.yaml": spec("Deployment", "r", "{model: ta, requires: [liv]}")},
    "a ring": {
        "specs/x5.yaml": spec("Training", "r1", "{task: sft, base: r2, datasets: [{name: a}]}"),
        "specs/x6.yaml": spec("Training", "r2", "{task: sft, base: r1, datasets: [{name: a}]}"),
    },
}


@st.composite
def perhaps_broken(draw: st.DrawFn) -> Tree:
    made = dict(draw(trees() | st.just(system())))
    for one in draw(st.lists(st.sampled_from(sorted(MORE)), max_size=2)):
        made |= {path: data.encode() for path, data in MORE[one].items()}
    for path, old, new in draw(st.lists(st.sampled_from(BREAKS), max_size=2)):
        made[path] = made.get(path, b"kind: Model").replace(old.encode(), new.encode())
    return Tree(made)


@CALM
@given(perhaps_broken(), st.randoms(use_true_random=False))
def test_the_order_in_which_resources_come_does_not_matter(tree: Tree, source: random.Random) -> None:
    parsed = loading.parse(tree, registry.PLUGINS)
    whole = built(parsed, tree, list(parsed.drafts))

    order = list(parsed.drafts)
    source.shuffle(order)

    assert built(parsed, tree, order) == whole


def built(
    parsed: ParsedCommit, tree: Tree, order: list[Key]
) -> tuple[Problem, ...] | tuple[list[tuple[Key, Node]], object]:
    try:
        found = graph.build(replace(parsed, drafts={key: parsed.drafts[key] for key in order}), tree, registry.PLUGINS)
    except Invalid as error:
        return error.problems
    return [(key, found[key]) for key in found.nodes], found.live


def test_what_is_wrong_is_found_in_every_order() -> None:
    for name, words in (
        ("two of a name", "m is Model/m and Training/m"),
        ("a requirement that is not there", 'no Evaluation is called "liv"'),
        ("a ring", "these depend on one another: Training/r1 -> Training/r2 -> Training/r1"),
    ):
        tree = Tree({**base(), **MORE[name]})
        parsed = loading.parse(tree, registry.PLUGINS)
        for order in (sorted(parsed.drafts), sorted(parsed.drafts, reverse=True)):
            found = built(parsed, tree, order)
            assert any(words in str(one) for one in found), (name, found)


def test_what_decides_nothing_may_close_a_ring() -> None:
    tree = Tree({**base(), **MORE["an evaluation of a deployment that requires it"]})
    parsed = loading.parse(tree, registry.PLUGINS)
    for order in (sorted(parsed.drafts), sorted(parsed.drafts, reverse=True)):
        found = built(parsed, tree, order)
        assert isinstance(found[0], list), found


def base() -> dict[str, str]:
    tuned = "{task: sft, base: m, datasets: [{name: a}]}"
    return {
        "evals/t.yaml": "task: t\noutput_type: generate_until\ndoc_to_text: x\n",
        "data/a.jsonl": '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}\n',
        "prompts/p.jinja": "{{ q }}",
        "specs/p.yaml": spec("Prompt", "p", "template: prompts/p.jinja\nvariables: {q: {}}"),
        "specs/d.yaml": spec("Dataset", "a", "format: messages\nsources: [{path: data/a.jsonl}]"),
        "specs/m.yaml": spec("Model", "m", f"source: {{hf: {{repo: a/b, revision: {'a' * 40}}}}}\nstage: approved"),
        "specs/ta.yaml": spec("Training", "ta", tuned),
        "specs/tb.yaml": spec("Training", "tb", tuned.replace("base: m", "base: ta")),
    }
