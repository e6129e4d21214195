"""What the gateway makes of a request, and how it shares the traffic."""

import time
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from llmops.serving import gateway_client
from llmops.serving.gateway.requests import BadRequest, translate
from llmops.serving.gateway.table import Balance, PromptMessage, PromptRoute, RevisionRoute
from llmops.serving.gateway_client import Counters

FIELDS = frozenset(["model", "messages", "stream", "max_tokens", "temperature", "prompt"])
CHAT = "/v1/chat/completions"


def served(
    prompt: PromptRoute | None = None, weight: int = 100, revision: str = "a" * 64, **more: object
) -> RevisionRoute:
    return RevisionRoute(
        revision=revision, weight=weight, urls=("u",), model="m", reports="m@main", fields=FIELDS, prompt=prompt, **more
    )


ASK = PromptRoute(
    turns=(PromptMessage("system", "Be short."), PromptMessage("user", "Q: {{ question }}")),
    variables={"question": {"type": "string", "minLength": 2}},
    parameters={"temperature": 0, "max_tokens": 8},
)


def user(text: str) -> dict[str, object]:
    return {"model": "chat", "messages": [{"role": "user", "content": text}]}


def test_without_a_prompt_a_request_passes_with_the_fields_that_the_engine_takes() -> None:
    asked = translate(CHAT, {**user("hi"), "user": "me", "n": 1, "max_tokens": 3}, served())

    assert asked.body == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


def test_max_completion_tokens_is_honoured_by_engines_that_only_know_max_tokens() -> None:
    assert translate(CHAT, {**user("hi"), "max_completion_tokens": 3}, served()).body["max_tokens"] == 3


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_the_prompt_wins_by_whichever_name_it_is_asked_for(name: str) -> None:
    fields = FIELDS | {"max_completion_tokens"}
    entry = replace(served(ASK), fields=fields)

    asked = translate(CHAT, {**user("why"), name: 4096}, entry)

    assert (asked.body["max_tokens"], "max_completion_tokens" in asked.body, asked.ignored) == (8, False, (name,))


def test_no_limit_is_no_limit() -> None:
    assert "max_tokens" not in translate(CHAT, {**user("hi"), "max_completion_tokens": None}, served()).body


def test_the_last_user_message_fills_a_lone_variable_in() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "old"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "new"},
        ]
    }

    assert translate(CHAT, body, served(ASK)).body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "Q: new"},
    ]


def test_content_may_be_a_list_of_parts() -> None:
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]
    }

    assert translate(CHAT, body, served(ASK)).body["messages"][-1]["content"] == "Q: one two"


def test_variables_can_be_sent_by_name() -> None:
    body = {"messages": [{"role": "user", "content": "before"}], "variables": {"question": "why"}}

    contents = [message["content"] for message in translate(CHAT, body, served(ASK)).body["messages"]]

    assert contents == ["Be short.", "before", "Q: why"]


def test_what_the_prompt_fixes_wins_and_is_told() -> None:
    asked = translate(CHAT, {**user("why"), "temperature": 1.5, "max_tokens": 8}, served(ASK))

    assert (asked.body["temperature"], asked.ignored) == (0, ("temperature",))


def test_what_the_engine_cannot_change_is_told() -> None:
    asked = translate(CHAT, {**user("why"), "temperature": 1.5}, served(fixed={"temperature": None}))

    assert asked.ignored == ("temperature",)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, "variables.question"),
        ({"messages": [], "variables": {"other": "x"}}, "variables.question"),
        ({"messages": [], "variables": {"question": 3}}, "variables.question"),
        ({"messages": [], "variables": 3}, "variables"),
    ],
)
def test_a_request_that_does_not_fit_the_prompt_says_which_part(body: dict[str, object], param: str) -> None:
    with pytest.raises(BadRequest) as error:
        translate(CHAT, body, served(ASK))

    assert (error.value.status, error.value.param) == (400, param)


def test_a_hostile_pattern_of_a_variable_takes_no_longer_than_any_other() -> None:
    hostile = replace(ASK, variables={"question": {"pattern": "^(a+)+$"}})
    began = time.process_time()

    with pytest.raises(BadRequest, match=r"does not match the pattern \^\(a\+\)\+\$"):
        translate(CHAT, user("a" * 5_000 + "!"), served(hostile))

    assert time.process_time() - began < 2.0


def test_a_schema_of_a_variable_opens_no_connection() -> None:
    away = replace(ASK, variables={"question": {"$ref": "http://127.0.0.1:9/schema.json"}})

    with pytest.raises(BadRequest, match=r"schema\.json\", which is not in it") as error:
        translate(CHAT, user("why"), served(away))

    assert error.value.param == "variables.question"


@pytest.mark.parametrize(
    ("schema", "value", "why"),
    [
        ({"minLength": 2}, "x", "'x' is too short"),
        ({"properties": {"n": {"type": "integer"}}}, {"n": "1"}, r"\$\.n: '1' is not of type 'integer'"),
        ({"properties": {"n": {}}, "additionalProperties": False}, {"m": 1}, "'m' is not allowed"),
        ({"patternProperties": {"^n": {"type": "null"}}}, {"n1": 1}, r"\$\.n1: 1 is not of type 'null'"),
        ({"enum": ["a"]}, "b" * 10_000, r"b … b+' is not one of \['a'\]"),
    ],
)
def test_what_is_wrong_with_a_variable_is_said_shortly(schema: dict[str, Any], value: object, why: str) -> None:
    with pytest.raises(BadRequest, match=f'the variable "question" is not valid: .*{why}') as error:
        translate(
            CHAT,
            {"messages": [], "variables": {"question": value}},
            served(replace(ASK, variables={"question": schema})),
        )

    assert len(str(error.value)) < 500


def test_a_deployment_with_a_prompt_does_not_take_raw_text() -> None:
    with pytest.raises(BadRequest, match="only on /v1/chat/completions"):
        translate("/v1/completions", {"prompt": "x"}, served(ASK))


def test_shares_come_out_exactly() -> None:
    one, other, none = "a" * 64, "b" * 64, "c" * 64
    balance = Balance(
        (served(weight=25, revision=one), served(weight=75, revision=other), served(weight=0, revision=none))
    )

    given = [balance.choose() for _ in range(400)]

    assert Counter(given) == {one: 100, other: 300}
    for start in range(0, 400, 20):
        assert given[start : start + 20].count(one) == 5


def test_nobody_is_chosen_when_nobody_has_a_share() -> None:
    assert Balance((served(weight=0),)).choose() is None


def test_a_window_is_what_happened_between_two_readings() -> None:
    before = Counters(100, 2, ((0.1, 50), (1.0, 90), (float("inf"), 100)))
    after = Counters(200, 5, ((0.1, 50), (1.0, 190), (float("inf"), 200)))

    window = gateway_client.window(before, after)

    assert (window.requests, window.errors) == (100, 3)
    assert window.latency_p95 == pytest.approx(0.955)


def test_a_quantile_of_nothing_is_none() -> None:
    assert gateway_client.quantile([], 0.95) is None
    assert gateway_client.quantile([(1.0, 0.0)], 0.95) is None
