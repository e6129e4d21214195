"""Declares a Prompt: messages with variables, and sampling parameters.

Pure.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files
from llmops.language import jinja, user_schemas
from llmops.language.jinja import InvalidTemplate
from llmops.plugins.fields import Body, about, file
from llmops.plugins.kind import Choices, Kind


class Message(Body, frozen=True, kw_only=True):
    """One turn; its content is a Jinja template."""

    role: Annotated[Literal["system", "user", "assistant"], about("Author of the message.")]
    content: Annotated[str, about("Jinja template of the text.", min_length=1)]


class Parameters(Body, frozen=True, kw_only=True):
    """Parameters of a request, as the OpenAI API names them. The caller chooses those that are not set."""

    temperature: Annotated[float, about("Temperature; 0 takes the likeliest token.", ge=0, le=2)] | None = None
    top_p: Annotated[float, about("Share of the probability to sample from.", gt=0, le=1)] | None = None
    max_tokens: Annotated[int, about("Maximum number of tokens of an answer.", ge=1)] | None = None
    stop: Annotated[tuple[str, ...], about("Texts that end the answer.")] = ()
    seed: Annotated[int | None, about("Seed of sampling.")] = None


class Prompt(Body, frozen=True, kw_only=True):
    """A prompt template, which renders in a sandbox; every variable is declared."""

    template: Annotated[str, file("Jinja file under prompts/ that becomes one user message.")] | None = None
    messages: Annotated[tuple[Message, ...], about("Messages, if one user message is not enough.")] = ()
    variables: Annotated[dict[str, dict[str, Any]], about("Each variable with the JSON Schema of its values.")] = {}
    parameters: Annotated[Parameters, about("Parameters of the request.")] = Parameters()

    def turns(self, template: str | None) -> tuple[Message, ...]:
        """Return the messages; ``template`` is the text of the template file, if there is one."""
        return self.messages if template is None else (Message(role="user", content=template),)


def check(prompt: Prompt, _: Choices) -> Iterable[FieldProblem]:
    if (prompt.template is None) == (not prompt.messages):
        yield FieldProblem("", "a prompt has either a template or messages.", "Set exactly one of them.")
    for name, schema in prompt.variables.items():
        if not name.isidentifier():
            yield FieldProblem(f"variables.{name}", f'"{name}" cannot be a variable.', "Use letters, digits and _.")
        yield from user_schemas.problems(schema, f"variables.{name}")
    if prompt.messages:
        used: set[str] = set()
        for index, message in enumerate(prompt.messages):
            try:
                used |= jinja.variables(message.content)
            except InvalidTemplate as error:
                yield FieldProblem(f"messages[{index}].content", error.what, "Correct the template.")
                return
        yield from _undeclared(prompt, used)


def examine(prompt: Prompt, files: Files) -> Iterable[FieldProblem | Problem]:
    """Check that the template file can be parsed, and that its variables are the declared ones."""
    path = prompt.template
    if path is None:
        return
    try:
        used = jinja.variables(files[path].decode())
    except UnicodeDecodeError:
        yield Problem(path, 1, "", "the template is not UTF-8.", "Save the file as UTF-8.")
    except InvalidTemplate as error:
        yield Problem(path, error.line, "", error.what, "Correct the template.")
    else:
        yield from _undeclared(prompt, used)


def _undeclared(prompt: Prompt, used: Iterable[str]) -> Iterable[FieldProblem]:
    for name in sorted(set(used) - set(prompt.variables)):
        yield FieldProblem(
            "variables", f'the template uses "{name}", which is not declared.', f"Add {name} to variables."
        )
    for name in sorted(set(prompt.variables) - set(used)):
        yield FieldProblem(f"variables.{name}", "the template does not use it.", "Remove it, or use it.")


KIND = Kind(body=Prompt, provides=("prompt",), check=check, examine=examine)
