"""What a step works with: the store, a folder to work in, and a way to say how far it is.

Effects: reads and writes the store and the order's folder, looks up secrets.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.digests import digest as named
from llmops.domain.orders import Input, Job, Progress
from llmops.domain.problems import LlmopsError, os_refusal
from llmops.host import disk
from llmops.plugins.sources import Source
from llmops.steps import secrets
from llmops.steps.redaction import Redaction
from llmops.store import blobs
from llmops.store.blobs import Store

B = TypeVar("B")


class StepFailed(Exception):
    """The step cannot make what it was asked for; the message says why and what to do."""


class JobOutput(Struct, frozen=True):
    """What a step made of one job."""

    job: Job
    outputs: dict[str, Digest]
    """Folders in the store, by name."""
    metrics: dict[str, float]
    packages: tuple[str, ...] = ()
    """What made it: their versions are recorded with the outcome."""


class JobFailure(Struct, frozen=True):
    """A job that came to nothing, beside others of its order that need not."""

    job: Job
    why: str


def contained(jobs: Sequence[Job], making: Iterable[JobOutput | JobFailure]) -> Iterator[JobOutput | JobFailure]:
    """Give what is made for some jobs of an order. When that breaks off, they have failed; the others go on."""
    try:
        yield from making
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a suite brings along: it is that suite's
        traceback.print_exc()
        why = reason(error)
        yield from (JobFailure(job, why) for job in jobs)


def reason(error: BaseException) -> str:
    """Say for people why a step failed."""
    if isinstance(error, (StepFailed, LlmopsError)):
        return str(error)
    if isinstance(error, OSError):
        return os_refusal(error)
    if isinstance(error, SystemExit):
        return f"it ended itself by sys.exit({error.code!r}). Its log says more."
    return f"{type(error).__name__}: {error}"


class StepContext(Struct, frozen=True):
    """Where one order is worked on."""

    folder: Path
    store: Store
    cluster: bool
    redaction: Redaction

    @property
    def name(self) -> str:
        """The order's name: also the name of its Ray Train run."""
        return self.folder.name

    def scratch(self, *parts: str) -> Path:
        """Give a folder to write in, made if needed; it is swept when the order is done."""
        made = self.folder.joinpath("scratch", *parts)
        made.mkdir(parents=True, exist_ok=True)
        return made

    def blank(self, *parts: str) -> Path:
        """Give an empty folder to write a result in: what was written there before may be the store's own by now."""
        shutil.rmtree(self.folder.joinpath("scratch", *parts), ignore_errors=True)
        return self.scratch(*parts)

    def say(self, text: str, done: int = 0, total: int = 0) -> None:
        """Tell whoever watches how far the work is."""
        say(self.folder, Progress(self.redaction.clean(text), done, total))

    def secret(self, reference: str | None) -> str | None:
        """Give the secret that a spec names, if it names one; from here on it is in nothing that is printed."""
        if reference is None:
            return None
        try:
            found = secrets.resolve(reference)
        except secrets.NoSecret as error:
            raise StepFailed(str(error)) from None
        self.redaction.add(found)
        return found

    def options(self, source: Source) -> dict[str, Any]:
        """Give the options that fsspec opens an address with."""
        token = self.secret(source.token)
        return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}

    def folder_of(self, given: Input, output: str) -> Path:
        """Give a folder with what an input's output holds, read-only."""
        if output not in given.outputs:
            raise StepFailed(f"{given.key} has no output called {output}.")
        return self.materialise(given.outputs[output])

    def materialise(self, digest: Digest) -> Path:
        """Give a folder with what a manifest holds, read-only."""
        target = self.folder / "scratch" / "inputs" / digest
        blobs.materialise(self.store, digest, target)
        return target

    def repository(self, files: dict[str, Digest]) -> Path:
        """Give a folder with these files of the repository at their paths: of two commits, each has its own."""
        target = self.scratch("repository", named(sorted(files.items())))
        for path, digest in files.items():
            blobs.fetch(self.store, digest, target / path)
        return target


def say(folder: Path, progress: Progress) -> None:
    """Tell whoever watches the order of a folder how far it is."""
    disk.write(folder / orders.PROGRESS, orders.encode(progress))


def body(given: Job | Input, kind: type[B]) -> B:
    """Give the typed body of a job or an input."""
    return msgspec.json.decode(bytes(given.body), type=kind)


def now() -> str:
    """Give the time as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
