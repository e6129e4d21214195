"""Live load: clients that keep asking, and remember what came of every request.

Effects: speaks HTTP to an endpoint from threads of this process.
"""

from __future__ import annotations

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
    """What came of one request."""

    sent: float
    """When it was sent, by time.monotonic()."""
    revision: str
    error: str = ""


@dataclass
class Load:
    """Clients of one deployment; half of their requests are streamed. Use it in a ``with``."""

    url: str
    model: str
    questions: list[str]
    clients: int = 4
    answers: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(n,), daemon=True) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Answer]:
        """Requests that were not answered well."""
        return [one for one in self.answers if one.error]

    def by_revision(self) -> Counter[str]:
        """Count the answers of each revision."""
        return Counter(one.revision for one in self.answers if not one.error)

    def last_of(self, revision: str) -> float | None:
        """Give when the last request was sent that a revision answered."""
        return max((one.sent for one in self.answers if one.revision == revision), default=None)

    def _ask_on(self, client: int) -> None:
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
        except (OSError, http.client.HTTPException) as error:
            return Answer(sent, revision, f"{type(error).__name__}: {error}")
        finally:
            connection.close()
        whole = text.endswith(b"data: [DONE]\n\n") and b'"error"' not in text if stream else b'"choices"' in text
        wrong = "" if response.status == http.client.OK and whole else f"{response.status}: {text[:200]!r}"
        return Answer(sent, revision, wrong)
