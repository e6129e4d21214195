"""What a deployment answers, in the shape of the OpenAI API."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmops.domain.problems import Exit
from llmops.releases import deployments
from llmops.serving import gateway_client
from tests.conftest import Shell
from tests.served import ask, change, chat, content, deployment, endpoint, release
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")


def test_a_first_revision_answers_in_the_shape_of_the_openai_api(stage: Shell) -> None:
    assert stage("apply") == Exit.WELL

    status, answer, headers = chat(stage, "hello", max_tokens=3, user="me")
    assert status == 200
    assert content(answer).startswith("one ")
    assert json.loads(content(answer).removeprefix("one ")) == {
        "max_tokens": 3,
        "messages": [{"role": "user", "content": "hello"}],
        "model": "model",
    }
    assert answer["model"] == "chat"
    assert headers["x-llmops-revision"] == release(stage).live[:12]
    assert ask(stage, "", "/v1/models", "GET")[1]["data"][0]["id"] == "chat"


def test_errors_have_the_shape_of_the_openai_api(stage: Shell) -> None:
    stage("apply")

    cases: list[tuple[int, dict[str, Any] | str, str, str]] = [
        (404, {"model": "other", "messages": []}, "/v1/chat/completions", "POST"),
        (404, {"messages": []}, "/v1/chat/completions", "POST"),
        (400, "{", "/v1/chat/completions", "POST"),
        (400, "[]", "/v1/chat/completions", "POST"),
        (404, "", "/load_model", "POST"),
        (404, "", "/update_weights", "POST"),
        (405, "", "/v1/models", "POST"),
        (422, {"model": "chat", "messages": "bad"}, "/v1/chat/completions", "POST"),
    ]
    for status, body, path, method in cases:
        found, answer, _ = ask(stage, body, path, method)
        assert found == status, (path, body)
        assert set(answer["error"]) == {"message", "type", "param", "code"}


def test_an_engine_that_breaks_off_is_an_error_and_no_answer(stage: Shell) -> None:
    change(stage, deployment("half ", fails="breaks"))
    stage("apply")

    status, answer, _ = chat(stage)
    assert (status, answer["error"]["code"]) == (502, "engine_failed")
    assert "broke off" in answer["error"]["message"]

    status, text, _ = chat(stage, stream=True)
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line and "[DONE]" not in line]
    assert (status, events[-1]["error"]["code"]) == (200, "engine_failed")
    counted = gateway_client.counters(deployments.gateway(stage.repo.workspace()), "chat", release(stage).live)
    assert (counted.requests, counted.errors) == (2, 2)


def test_a_stream_is_passed_on_piece_by_piece(stage: Shell) -> None:
    change(stage, deployment("slow ", delay=0.3))
    stage("apply")
    connection = http.client.HTTPConnection(urlsplit(endpoint(stage)).netloc, timeout=20)
    body = {"model": "chat", "messages": [{"role": "user", "content": "a b c"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    times, events = [], []
    for line in answer:
        if line.startswith(b"data: "):
            times.append(time.monotonic())
            events.append(line)
    connection.close()

    assert events[-1] == b"data: [DONE]\n"
    assert b'"model":"chat"' in events[0]
    assert times[-1] - times[0] > 0.8, "the pieces came all at once"


def test_a_client_that_goes_away_ends_the_work_for_it(stage: Shell) -> None:
    change(stage, deployment("slow ", delay=0.2))
    stage("apply")
    connection = http.client.HTTPConnection(urlsplit(endpoint(stage)).netloc, timeout=20)
    body = {"model": "chat", "messages": [{"role": "user", "content": "x " * 50}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    connection.getresponse().readline()
    connection.close()

    def metrics() -> str:
        return str(ask(stage, "", "/metrics", "GET")[1])

    wait_for(lambda: 'code="499"' in metrics())
    assert "llmops_gateway_in_flight" in metrics()


def test_the_chat_command_and_the_openai_client_get_answers(stage: Shell) -> None:
    import openai

    stage("apply")

    assert stage("chat", "chat", "-m", "hello there") == Exit.WELL
    assert "hello there" in stage.out
    client = openai.OpenAI(base_url=f"{endpoint(stage)}/v1", api_key="none")
    answer = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}])
    assert (answer.model, str(answer.choices[0].message.content)[:4]) == ("chat", "one ")
    pieces = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces).startswith("one ")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=[])
    client.close()
