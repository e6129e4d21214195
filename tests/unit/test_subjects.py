"""A deployment as the subject of an evaluation: what names it, what comes first, and what cannot be asked."""

from __future__ import annotations

import pytest

from llmops import registry
from llmops.domain.plans import Verb
from llmops.domain.problems import Misused
from llmops.domain.records import EnvironmentState, Release, Revision, Standing
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.execution import dispatch
from llmops.gates import comparison_plan, pull_request
from llmops.gates.comparison_plan import ComparisonRequest
from llmops.ledger import ledger
from llmops.planning import plan
from llmops.planning.plan import PlanOrigin
from llmops.releases.rollouts import Observed
from llmops.specs import diff
from llmops.specs.graph import Graph
from tests.repos import Repo
from tests.trees import Tree, build, current, problems, system

SUMS, CHAT, TUNED = Key("Evaluation", "sums"), Key("Deployment", "chat"), Key("Training", "tuned")


def asked() -> Tree:
    """A system whose deployment requires an evaluation of that deployment."""
    return system().edited("specs/sums.yaml", "{model: tuned, prompt: ask}", "{deployment: chat}")


def test_a_deployment_may_require_an_evaluation_of_itself() -> None:
    graph = build(asked())

    assert graph.order([SUMS, CHAT]) == [CHAT, SUMS]
    assert [need.key for need in graph[CHAT].needs if need.is_gate] == [SUMS]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("specs/chat.yaml", "requires:", "engine: {config: {cb_num_blocks: 99}}\n  requires:"),
        ("specs/chat.yaml", "requires:", "engine: {config: {dtype: bfloat16}}\n  requires:"),
        ("specs/chat.yaml", "requires:", "engine: {version: 5.23.0}\n  requires:"),
        ("specs/chat.yaml", "  prompt: ask\n", ""),
        ("specs/chat.yaml", "model: tuned", "model: base"),
        ("specs/ask.yaml", "template:", "parameters: {temperature: 0.5}\n  template:"),
        ("prompts/ask.jinja", "question", "question }}{{ question"),
        ("data/rows.jsonl", "1+1", "2+2"),
    ],
)
def test_whatever_decides_the_revision_is_asked_anew(path: str, old: str, new: str) -> None:
    before, after = build(asked()), build(asked().edited(path, old, new))

    assert {unit.digest for unit in before[SUMS].units}.isdisjoint(unit.digest for unit in after[SUMS].units)


@pytest.mark.parametrize(
    "more",
    ["replicas: 3", "keep_warm: {revisions: 2}", "progress_deadline: 5m", "engine: {config: {threads: 4}}"],
)
def test_how_a_revision_is_run_is_not_asked_anew(more: str) -> None:
    after = asked().edited("specs/chat.yaml", "requires:", f"{more}\n  requires:")

    assert build(after)[SUMS].units == build(asked())[SUMS].units


def test_the_model_is_prepared_then_asked_and_only_then_released() -> None:
    graph = build(asked())
    made = plan.make(diff.compare(Graph(), graph), graph, registry.PLUGINS, current(), PlanOrigin("c", "b", "local"))

    prepared = graph[CHAT].units[0].digest
    suites = [action for action in made.actions if action.key == SUMS]
    release = made.actions[-1]
    assert [action.verb for action in suites] == ["evaluate", "evaluate"]
    assert all(prepared in action.after for action in suites)
    assert (release.verb, release.gates) == (Verb.RELEASE, (SUMS,))
    assert {action.unit for action in suites} <= set(release.after)


def test_a_deployment_that_runs_is_prepared_again_only_for_an_evaluation_that_lacks_it() -> None:
    graph = build(asked())
    live = graph[CHAT].digest
    known = Revision(commit="b" * 40, standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    state = EnvironmentState(releases={str(CHAT): Release(live=live, revisions={live: known})})
    seen = {CHAT: Observed(ready={live: 1}, weights={live: 100})}
    everything = {unit.digest for node in graph.nodes.values() for unit in node.units}
    prepared = graph[CHAT].units[0].digest

    def owed(lost: set[str]) -> list[tuple[Key, str]]:
        world = current(frozenset(everything - lost), state, seen)
        made = plan.make((), graph, registry.PLUGINS, world, PlanOrigin("c", "b", "local"))
        return [(action.key, action.verb) for action in made.actions]

    assert owed({prepared}) == []
    assert owed({prepared, graph[SUMS].units[0].digest}) == [(CHAT, "prepare"), (SUMS, "evaluate")]


def test_a_gate_makes_the_model_that_the_engine_serves_and_releases_nothing(repo: Repo) -> None:
    base = repo.commit(asked(), "system")
    repo.edit("specs/chat.yaml", "requires:", "engine: {config: {cb_num_blocks: 99}}\n  requires:")
    head = repo.commit(message="another engine")

    ledger.start(repo.ledger())
    found = pull_request.prepare(repo.workspace(), repo.desire(base), repo.desire(head))

    verbs = {(task.action.key, task.action.verb) for task in found.tasks}
    assert found.affected == (SUMS,)
    assert (CHAT, "prepare") in verbs
    assert not {verb for _, verb in verbs} & set(Verb)


def test_an_order_carries_the_prompt_of_the_deployment(repo: Repo) -> None:
    commit = repo.commit(asked(), "system")
    wanted = repo.desire(commit)
    made = plan.make((), wanted.graph, registry.PLUGINS, current(), PlanOrigin(commit, "", "local"))
    action = next(action for action in made.actions if action.key == SUMS)
    ledger.start(repo.ledger())

    job = dispatch.job(action, wanted, repo.ledger(), workspaces.open_store(repo.workspace()))

    assert job.inputs["subject.deployment"].key == CHAT
    assert job.inputs["subject.deployment.prompt"].files.keys() == {"prompts/ask.jinja"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("deployment: chat", "deployment: chat, model: tuned", "$.spec.subject: a subject is either a model or a"),
        ("{deployment: chat}", "{}", "$.spec.subject: a subject is either a model or a deployment. Set exactly one"),
        ("deployment: chat", "deployment: chat, prompt: ask", "$.spec.subject.prompt: a deployment is asked through"),
        ("  suites:", "  dtype: bfloat16\n  suites:", "$.spec.dtype: the engine of a deployment decides its dtype."),
        ("  suites:", "  device: cuda\n  suites:", "$.spec.device: the engine of a deployment decides its device."),
        ("limit: 1", "num_fewshot: 2", "num_fewshot: Deployment/chat has a prompt, which has no place for solved"),
    ],
)
def test_what_an_evaluation_of_a_deployment_cannot_say(old: str, new: str, problem: str) -> None:
    (found,) = problems(asked().edited("specs/sums.yaml", old, new))

    assert problem in found


def test_a_prompt_has_no_place_for_the_examples_of_a_task_file() -> None:
    own = asked().edited("evals/sums.yaml", "task: sums\n", "task: sums\nnum_fewshot: 2\n")

    found = problems(own)

    assert "has no place for solved examples, and the task file has some. Set num_fewshot: 0" in found[0]
    none = own.edited("specs/sums.yaml", "dataset: rows", "dataset: rows, num_fewshot: 0")
    build(none)


@pytest.mark.parametrize("output", ["multiple_choice", "loglikelihood", "loglikelihood_rolling"])
def test_a_task_that_needs_likelihoods_is_refused_before_anything_runs(output: str) -> None:
    tree = asked().edited("evals/sums.yaml", "output_type: generate_until", f"output_type: {output}")
    included = Tree(
        {
            **asked(),
            "evals/common.yaml": f"output_type: {output}\ndoc_to_text: x\ndoc_to_target: y\n",
            "evals/sums.yaml": "include: common.yaml\ntask: sums\n",
        }
    )

    for one in (tree, included):
        first, second = problems(one)
        assert f"$.spec.suites[0].task: its output_type is {output}, and an engine answers with text" in first
        assert "$.spec.suites[1].task" in second


def test_texts_that_are_only_read_have_no_use_for_a_prompt() -> None:
    tree = system().edited("evals/sums.yaml", "generate_until", "loglikelihood_rolling")

    assert all("so no prompt is filled" in problem for problem in problems(tree))


def test_a_required_evaluation_of_another_deployment_says_nothing_of_this_one() -> None:
    other = asked()["specs/chat.yaml"].decode().replace("name: chat", "name: other").replace("requires: [sums]", "")
    tree = Tree({**asked(), "specs/other.yaml": other}).edited(
        "specs/sums.yaml", "deployment: chat", "deployment: other"
    )

    (problem,) = problems(tree)
    assert "Evaluation/sums does not evaluate Training/tuned" in problem


def test_a_deployment_is_compared_with_the_model_that_it_serves() -> None:
    words = ComparisonRequest(subjects=("chat", "tuned+ask"), suites=("sums/few",))

    served, alone = (entry.bodies[SUMS].subject for entry in comparison_plan.make(words, build(asked())))

    assert (served.deployment, served.model, served.prompt) == ("Deployment/chat", None, None)
    assert (alone.deployment, alone.model, alone.prompt) == (None, "Training/tuned", "Prompt/ask")


def test_a_prompt_alone_says_nothing_where_a_deployment_was_asked() -> None:
    with pytest.raises(Misused, match="is Deployment/chat, so there is no model for ask"):
        comparison_plan.make(ComparisonRequest(subjects=("chat", "ask"), suites=("sums/few",)), build(asked()))
