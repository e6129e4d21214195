"""chat: Send messages to a deployment.

With -m it sends one message; else it holds a conversation until Ctrl-D. The answer is streamed, followed by the
revision that wrote it.

examples:
  llmops chat router -m "Return the current event loop."
  llmops chat router
  echo "Open a tar archive." | llmops chat router

Effects: sends HTTP requests to the gateway, reads the terminal, prints.
"""

import argparse
import http.client
import json
import sys
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from llmops.cli import completers
from llmops.cli.arguments import amount
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_environment
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Broken, Misused, Refused
from llmops.releases import deployments

CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    completer = completers.deployments
    completers.add(parser, completer, "deployment", metavar="DEPLOYMENT", help="name of the deployment")
    parser.add_argument("-m", "--message", metavar="TEXT", help="send this message, print the answer, and exit")
    parser.add_argument("--system", metavar="TEXT", help="system message before the conversation")
    parser.add_argument(
        "--max-tokens", type=_tokens, default=256, metavar="N", help="limit of an answer (default: 256)"
    )
    parser.add_argument("--url", metavar="URL", help="endpoint (default: the gateway of this environment)")
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    url = _parsed(arguments.url or _endpoint(arguments))
    history = [{"role": "system", "content": arguments.system}] if arguments.system else []
    for question in [arguments.message] if arguments.message else _questions(terminal):
        history.append({"role": "user", "content": question})
        answer = Answer(url, arguments.deployment, history, arguments.max_tokens)
        for piece in answer.pieces():
            sys.stdout.write(piece)
            sys.stdout.flush()
        terminal.print("")
        terminal.note(terminal.paint(f"(revision {answer.revision})", "dim"))
        history.append({"role": "assistant", "content": answer.text})


def _endpoint(arguments: argparse.Namespace) -> str:
    url = deployments.gateway(open_workspace(arguments, offline=True)).url
    if not url:
        raise Refused("the gateway does not run on this machine. Start it with `llmops apply`, or name one with --url.")
    return url


def _parsed(text: str) -> SplitResult:
    """Parse the address of an endpoint; its path precedes that of the API, and may end in the ``/v1`` of OpenAI."""
    try:
        url = urlsplit(text)
        is_usable = url.scheme in CONNECTIONS and url.hostname and url.port != 0
    except ValueError:  # the port is no number
        is_usable = False
    if not is_usable:
        raise Misused(f'"{text}" is not the address of an endpoint. Use http://HOST:PORT or https://HOST.')
    return url._replace(path=url.path.rstrip("/").removesuffix("/v1"))


def _tokens(text: str) -> int:
    if not amount(text):
        raise argparse.ArgumentTypeError("an answer has at least one token")
    return int(text)


def _questions(terminal: Terminal) -> Iterator[str]:
    if not sys.stdin.isatty():
        if not (question := sys.stdin.read().strip()):
            raise Misused("there is no message: standard input is empty. Use -m TEXT.")
        yield question
        return
    terminal.note("Ctrl-D ends the conversation.")
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            terminal.print("")
            return
        if question:
            yield question


class Answer:
    def __init__(self, url: SplitResult, model: str, messages: list[dict[str, str]], max_tokens: int) -> None:
        self._url = url
        self._body = {"model": model, "messages": messages, "max_tokens": max_tokens, "stream": True}
        self.text, self.revision = "", ""

    def pieces(self) -> Iterator[str]:
        """Stream the answer.

        Raises `Broken` when the endpoint does not answer, `Misused` when it serves no such model.
        """
        connection = CONNECTIONS[self._url.scheme](str(self._url.hostname), self._url.port, timeout=300)
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", f"{self._url.path}/v1/chat/completions", json.dumps(self._body), headers)
            response = connection.getresponse()
            self.revision = response.headers.get("x-llmops-revision", "unknown")
            if response.status == http.client.NOT_FOUND:
                raise Misused(_message(response.read()))
            if response.status != http.client.OK:
                raise Broken(_message(response.read()))
            for line in response:
                if line.startswith(b"data: {"):
                    yield from self._piece(json.loads(line[6:]))
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"{self._url.geturl()} does not answer: {error}. Check it with `llmops status`.") from None
        finally:
            connection.close()

    def _piece(self, event: dict[str, object]) -> Iterator[str]:
        if "error" in event:
            raise Broken(_message(json.dumps(event).encode()))
        for choice in event.get("choices", ()):  # type: ignore[attr-defined]
            piece = choice.get("delta", {}).get("content") or ""
            self.text += piece
            yield piece


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
