"""The program behind the echo engine: a small OpenAI-compatible server from the standard library."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST, PORT, TAG, FAILS, DELAY = (*sys.argv[1:5], float(sys.argv[5])) if len(sys.argv) > 5 else ("", "0", "", "", 0.0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ready = self.path == "/health" and FAILS != "deaf"
        self._send(200 if ready else 503, {"status": "ok" if ready else "starting"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/completions":
            self._send(
                500 if FAILS == "mute" else 200, {"choices": [{"index": 0, "text": "pong"}], "model": "model@main"}
            )
        elif FAILS == "errors":
            self._send(500, {"error": {"message": "out of order"}})
        elif FAILS == "evades":
            self._send(200, {"object": "error", "message": "out of memory"})
        elif "model" not in body or body["messages"] == "bad":
            self._send(422, {"detail": "messages are bad"})
        else:
            self._chat(body)

    def _chat(self, body: dict[str, Any]) -> None:
        words = f"{TAG}{json.dumps(body, sort_keys=True)}"
        time.sleep(float(DELAY))
        if not body.get("stream") and FAILS == "breaks":
            self._head(200, 1000)
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif not body.get("stream"):
            answer = {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": words}}],
                "model": "model@main",
            }
            self._send(200, answer)
        else:
            self._stream(words)

    def _stream(self, words: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in words.split(" "):
            event = {"choices": [{"index": 0, "delta": {"content": f"{piece} "}}], "model": "model@main"}
            self._chunk(f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode())
            time.sleep(float(DELAY))
            if FAILS == "breaks":
                self.close_connection = True
                return
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value, separators=(",", ":")).encode()
        self._head(status, len(data))
        self.wfile.write(data)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        print(format % args, flush=True)


if __name__ == "__main__":
    if FAILS == "crash":
        sys.exit(3)
    ThreadingHTTPServer((HOST, int(PORT)), Handler).serve_forever()
