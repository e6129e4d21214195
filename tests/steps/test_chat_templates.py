"""Contract with transformers: chat templates give the same text in our sandbox, and one without an end is ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trl
from transformers.utils import chat_template_utils as theirs

from llmops.steps import chat_templates
from llmops.steps.chat_templates import TooManySteps

SHIPPED = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
"""Templates of models: Llama 3, Qwen with tools, Gemma, GPT-OSS, Phi, Cohere, DeepSeek, GLM, Nemotron."""
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}
                    {%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}{{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {%- if loop.index0 % 2 == 7 %}{% continue %}{% endif %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + ', "call_id": "' + message.tool_call_id + '"}' }}
    {%- else %}
        {{- raise_exception("Only user, assistant and tool roles are supported.") }}
    {%- endif %}
{%- endfor %}
"""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a town, “now”.",
            "parameters": {
                "type": "object",
                "properties": {"town": {"type": "string", "description": "Its name"}, "days": {"type": "integer"}},
                "required": ["town"],
            },
        },
    }
]
PLAIN: list[dict[str, Any]] = [
    {"role": "system", "content": "You are brief. <é>"},
    {"role": "user", "content": "  What is 1+1?\n"},
    {"role": "assistant", "content": "<think>\nsimple\n</think>\n\n2"},
    {"role": "user", "content": "And 'why'?"},
]
CALLS: list[dict[str, Any]] = [
    {"role": "user", "content": "Is it raining?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"town": "Köln"}}}
        ],
    },
    {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": '{"rain": true}'},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Thanks"},
]
CONVERSATIONS = {
    "plain": {"messages": PLAIN},
    "without system": {"messages": PLAIN[1:]},
    "to be continued": {"messages": PLAIN, "add_generation_prompt": True},
    "tools": {"messages": CALLS, "tools": TOOLS, "add_generation_prompt": True},
    "thinking": {"messages": PLAIN, "add_generation_prompt": True, "enable_thinking": False},
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
ORIGINAL = theirs._compile_jinja_template


def outcome(template: str, **values: Any) -> str | tuple[str, ...]:
    """The text, with the places of what the assistant says, or the sort of error."""
    values = {"tools": None, "documents": None, "add_generation_prompt": False} | TOKENS | values
    messages = values.pop("messages")
    try:
        return str(
            theirs.render_jinja_template(
                [messages], chat_template=template, return_assistant_tokens_mask="generation" in template, **values
            )
        )
    except TooManySteps:
        raise
    except Exception as error:  # noqa: BLE001  the same error is the same behaviour
        return type(error).__name__, str(error)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    theirs._compile_jinja_template = ORIGINAL


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize(
    "template",
    [pytest.param(CHATML, id="chatml"), pytest.param(MISTRAL, id="mistral")]
    + [pytest.param(path.read_text(), id=path.stem) for path in SHIPPED],
)
def test_templates_of_models_give_the_text_of_transformers(template: str, conversation: str) -> None:
    theirs._compile_jinja_template = ORIGINAL
    expected = outcome(template, **CONVERSATIONS[conversation])

    chat_templates.install()

    assert outcome(template, **CONVERSATIONS[conversation]) == expected


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "template",
    [
        ENDLESS + "x",
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{{ 'x' * 999999999 }}",
        "{{ 'x'.ljust(999999999) }}",
        "{{ messages|tojson(indent=999999999) }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{% for i in range(999999) %}{{ messages|tojson }}{% endfor %}",
    ],
)
def test_a_template_without_an_end_is_ended(template: str) -> None:
    chat_templates.install()
    started = time.monotonic()

    with pytest.raises(TooManySteps, match="steps for these messages"):
        outcome(template, messages=PLAIN)

    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ dict.mro() }}",
        "{{ namespace.__init__.__globals__ }}",
        "{% set ns = namespace(__class__=1) %}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ raise_exception.__globals__ }}",
    ],
)
def test_a_template_reaches_nothing_of_python(template: str) -> None:
    chat_templates.install()

    result = outcome(template, messages=PLAIN)

    assert isinstance(result, tuple) or "class" not in result.replace("class'", ""), result


def test_a_long_conversation_is_rendered() -> None:
    """The limit grows with the messages: thousands of turns of a long document are no attack."""
    chat_templates.install()
    messages = [{"role": role, "content": "word " * 200} for _ in range(150) for role in ("user", "assistant")]
    template = next(path for path in SHIPPED if path.stem == "qwen3").read_text()

    assert len(str(outcome(template, messages=messages))) > 300_000
