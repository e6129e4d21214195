"""Small HTTP servers that stand in for others."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Website(BaseHTTPRequestHandler):
    """Answers requests of every method in `answer`, and logs nothing."""

    def answer(self) -> None:
        raise NotImplementedError

    def dispatch(self) -> None:
        self.answer()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = dispatch  # noqa: N815  as http.server asks for them

    def reply(self, code: int, body: object = b"", **headers: str) -> None:
        """Answer with bytes, or with a value as JSON; `_` stands for `-` in the name of a header."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"content_length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(website: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve a website on a port of its own; yields its host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), website) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
