"""The fewest actions that are still owed."""

from llmops import registry
from llmops.domain.plans import Action, Plan, Sign, Tier, Verb
from llmops.domain.records import EnvironmentState, Release, Revision, Standing
from llmops.domain.resources import Key
from llmops.planning import plan
from llmops.planning.plan import CurrentState, PlanOrigin
from llmops.releases.rollouts import Observed
from llmops.specs import diff
from llmops.specs.graph import EMPTY, Graph
from tests.trees import Tree, build, current, system

CHAT = Key("Deployment", "chat")
ORIGIN = PlanOrigin("c" * 40, "", "local")


def make(graph: Graph, world: CurrentState = current(), old: Graph = EMPTY) -> Plan:
    return plan.make(diff.compare(old, graph), graph, registry.PLUGINS, world, ORIGIN)


def verbs(made: Plan) -> list[str]:
    return [f"{action.sign} {action.verb} {action.key} {action.label}".strip() for action in made.actions]


def done(graph: Graph, *, without: set[str] = frozenset()) -> frozenset[str]:  # type: ignore[assignment]
    return frozenset(u.digest for n in graph.nodes.values() for u in n.units if str(n.key) not in without)


def released(graph: Graph, standing: Standing = Standing.GOOD) -> EnvironmentState:
    digest = graph[CHAT].digest
    known = Revision(commit="c", standing=standing, since="t", reason="it crashed")
    return EnvironmentState(releases={str(CHAT): Release(live=digest, revisions={digest: known})})


def well(graph: Graph) -> CurrentState:
    digest = graph[CHAT].digest
    return current(done(graph), released(graph), {CHAT: Observed(ready={digest: 1}, weights={digest: 100})})


def test_a_first_plan_does_everything_in_order() -> None:
    assert verbs(make(build(system()))) == [
        "+ prepare Dataset/corpus",
        "+ prepare Dataset/rows",
        "+ train Training/base",
        "+ train Training/tuned",
        "+ prepare Deployment/chat",
        "+ evaluate Evaluation/sums sums",
        "+ evaluate Evaluation/sums few",
        "+ release Deployment/chat",
    ]


def test_what_is_done_and_runs_needs_nothing() -> None:
    graph = build(system())

    assert make(graph, well(graph), old=graph).actions == ()


def test_only_what_is_missing_is_made() -> None:
    graph = build(system())
    world = current(done(graph, without={"Training/tuned"}))

    assert verbs(make(graph, world)) == ["+ train Training/tuned", "+ release Deployment/chat"]


def test_an_action_waits_for_what_it_leans_on() -> None:
    made = make(build(system()))
    by_name = {f"{action.verb} {action.key} {action.label}".strip(): action for action in made.actions}

    def waits(one: Action, other: Action) -> bool:
        return other.unit in one.after

    assert waits(by_name["train Training/tuned"], by_name["train Training/base"])
    assert waits(by_name["evaluate Evaluation/sums few"], by_name["train Training/tuned"])
    assert waits(by_name["release Deployment/chat"], by_name["prepare Deployment/chat"])
    assert waits(by_name["release Deployment/chat"], by_name["evaluate Evaluation/sums sums"])
    assert by_name["release Deployment/chat"].gates == (Key("Evaluation", "sums"),)


def test_going_back_is_one_action_and_waits_for_no_gate() -> None:
    before, after = build(system()), build(system().edited("specs/tuned.yaml", "r: 8", "r: 16"))
    old, new = before[CHAT].digest, after[CHAT].digest
    good = {one: Revision(commit="c", standing=Standing.GOOD, since="t") for one in (old, new)}
    state = EnvironmentState(releases={str(CHAT): Release(live=new, revisions=good)})
    seen = {CHAT: Observed(ready={old: 1, new: 1}, weights={new: 100})}

    made = make(before, current(done(before) | done(after), state, seen), old=after)

    assert [(a.sign, a.verb, a.tier, a.gates, a.after) for a in made.actions] == [
        (Sign.BACK, Verb.ROLLBACK, Tier.HOT, (), ())
    ]


def test_a_model_that_has_to_be_made_again_makes_going_back_and_restoring_cold() -> None:
    graph = build(system())
    digest = graph[CHAT].digest
    seen = {CHAT: Observed(prepared=frozenset({digest}))}

    kept = make(graph, current(done(graph), released(graph), seen))
    gone = make(graph, current(done(graph, without={"Deployment/chat"}), released(graph), seen))

    assert [(one.verb, one.tier) for one in kept.actions] == [(Verb.RESTORE, Tier.WARM)]
    assert [(one.verb, one.tier) for one in gone.actions[-1:]] == [(Verb.RESTORE, Tier.COLD)]


def test_a_bad_revision_is_blocked_and_nothing_is_prepared_for_it() -> None:
    graph = build(system())
    world = current(done(graph, without={"Deployment/chat"}), released(graph, Standing.BAD))

    made = make(graph, world)

    assert made.actions == ()
    assert "was found bad at t: it crashed" in made.blocked[0].why
    assert "llmops retry Deployment/chat" in made.blocked[0].remedy


def test_a_deployment_that_is_not_declared_any_more_is_removed() -> None:
    graph = build(system())
    without = build(system().without("specs/chat.yaml"))

    assert verbs(make(without, well(graph), old=graph)) == ["- remove Deployment/chat"]


def test_the_plan_says_what_is_reused() -> None:
    graph = build(system())
    made = make(graph, current(done(graph, without={"Training/tuned"})))

    assert {str(one.key) for one in made.reused} >= {"Training/base", "Dataset/rows"}


def test_the_id_names_the_plan_by_all_that_it_says() -> None:
    graph, other = build(system()), build(system().edited("specs/tuned.yaml", "r: 8", "r: 16"))

    assert make(graph).id == make(graph).id
    assert make(graph).id != make(other).id
    assert make(graph).id != plan.make((), graph, registry.PLUGINS, current(), PlanOrigin("d" * 40, "", "local")).id


def test_the_policy_moves_with_gates_and_strategies_of_what_is_done_only() -> None:
    tree = system()

    def policy(one: Tree) -> str:
        return make(build(one)).policy

    assert policy(tree) == policy(tree.edited("specs/tuned.yaml", "r: 8", "r: 16"))
    assert policy(tree) != policy(tree.edited("specs/sums.yaml", "limit: 1}", "limit: 1, gate: {alpha: 0.1}}"))
    assert policy(tree) != policy(tree.edited("specs/chat.yaml", "requires: [sums]", "replicas: 2"))
