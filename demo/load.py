"""Sends requests from several clients, and records the result of each.

Effects: sends HTTP requests from threads of this process.
"""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    sent: float
    """By time.monotonic()."""
    revision: str
    error: str = ""


@dataclass
class Load:
    """Clients of one deployment, from ``with`` to its end; every second request is streamed."""

    url: str
    model: str
    questions: list[str]
    clients: int = 4
    answers: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.error]

    def by_revision(self) -> Counter[str]:
        return Counter(answer.revision for answer in self.answers if not answer.error)

    def last_of(self, revision: str) -> float | None:
        return max((answer.sent for answer in self.answers if answer.revision == revision), default=None)

    def _run(self, client: int) -> None:
        for number in itertools.count(client):
            if self._stop.is_set():
                return
            self.answers.append(self._ask(self.questions[number % len(self.questions)], stream=number % 2 == 0))
            time.sleep(PAUSE_SECONDS)

    def _ask(self, question: str, *, stream: bool) -> Answer:
        sent = time.monotonic()
        body = {"model": self.model, "messages": [{"role": "user", "content": question}], "stream": stream}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        revision = ""
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            revision = response.headers.get("x-llmops-revision", "")
            text = response.read()
        except (OSError, http.client.HTTPException) as exception:
            return Answer(sent, revision, f"{type(exception).__name__}: {exception}")
        finally:
            connection.close()
        is_whole = text.endswith(b"data: [DONE]\n\n") and b'"error"' not in text if stream else b'"choices"' in text
        error = "" if response.status == http.client.OK and is_whole else f"{response.status}: {text[:200]!r}"
        return Answer(sent, revision, error)
