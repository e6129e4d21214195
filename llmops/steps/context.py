"""Provides a step with its inputs, folders to work in and secrets, and reports its progress.

Effects: reads and writes the store and the order's folder, looks up secrets.
"""

import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.digests import digest as digest_of
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
    """The step cannot produce its result; the message says why and what to do."""


class JobOutput(Struct, frozen=True):
    job: Job
    outputs: dict[str, Digest]
    """Folders in the store, by name."""
    metrics: dict[str, float]
    packages: tuple[str, ...] = ()
    """Packages whose versions are recorded with the outcome."""


class JobFailure(Struct, frozen=True):
    """A job that failed; other jobs of its order may still succeed."""

    job: Job
    why: str


def contained(jobs: Sequence[Job], products: Iterable[JobOutput | JobFailure]) -> Iterator[JobOutput | JobFailure]:
    """Pass on the products of some jobs of an order. An exception fails these jobs only."""
    try:
        yield from products
    except (Exception, SystemExit) as error:  # noqa: BLE001  a suite may run any code of the user
        traceback.print_exc()
        why = reason(error)
        yield from (JobFailure(job, why) for job in jobs)


def reason(error: BaseException) -> str:
    if isinstance(error, (StepFailed, LlmopsError)):
        return str(error)
    if isinstance(error, OSError):
        return os_refusal(error)
    if isinstance(error, SystemExit):
        return f"its code called sys.exit({error.code!r}). See the log."
    return f"{type(error).__name__}: {error}"


def check_pin(uri: str, sha256: str, job: Job) -> None:
    """Compare downloaded bytes with their pin. Raises `StepFailed` for other bytes."""
    if f"sha256:{sha256}" != (pinned := job.pins[uri]):
        raise StepFailed(f"{uri} is sha256:{sha256}, but {pinned} is pinned. Check the source, then run `llmops lock`.")


class StepContext(Struct, frozen=True):
    folder: Path
    store: Store
    cluster: bool
    redaction: Redaction

    @property
    def name(self) -> str:
        """The order's name, which is also the name of its Ray Train run."""
        return self.folder.name

    def scratch(self, *parts: str) -> Path:
        """Return a folder for temporary files; it is created if needed, and removed once the order has succeeded."""
        folder = self.folder.joinpath("scratch", *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def blank(self, *parts: str) -> Path:
        """Return an empty folder for a result. It replaces an earlier try, whose inodes the store may share."""
        shutil.rmtree(self.folder.joinpath("scratch", *parts), ignore_errors=True)
        return self.scratch(*parts)

    def once(self, build: Callable[[Path], object], *parts: str) -> Path:
        """Return a folder that `build` fills at the first call. A kill in between leaves no half-built one."""
        target = self.folder.joinpath("scratch", *parts)
        if not target.exists():
            partial = self.blank(*parts[:-1], f"{parts[-1]}.partial")
            build(partial)
            partial.rename(target)
        return target

    def report(self, text: str, done: int = 0, total: int = 0) -> None:
        report(self.folder, Progress(self.redaction.clean(text), done, total))

    def secret(self, reference: str | None) -> str | None:
        """Look up a secret, and redact it from all output from now on. Raises `StepFailed`."""
        if reference is None:
            return None
        try:
            value = secrets.resolve(reference)
        except secrets.NoSecret as error:
            raise StepFailed(str(error)) from None
        self.redaction.add(value)
        return value

    def options(self, source: Source) -> dict[str, Any]:
        token = self.secret(source.token)
        return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}

    def folder_of(self, resource: Input, output: str) -> Path:
        """Return a read-only folder with an output of an input."""
        if output not in resource.outputs:
            raise StepFailed(f"{resource.key} has no output called {output}.")
        return self.materialise(resource.outputs[output])

    def materialise(self, digest: Digest) -> Path:
        """Return a read-only folder with the files of a manifest in the store."""
        target = self.folder / "scratch" / "inputs" / digest
        blobs.materialise(self.store, digest, target)
        return target

    def repository(self, files: dict[str, Digest]) -> Path:
        """Return a folder with these files of the repository at their paths; another commit gets another folder."""
        target = self.scratch("repository", digest_of(sorted(files.items())))
        for path, digest in files.items():
            blobs.fetch(self.store, digest, target / path)
        return target


def report(folder: Path, progress: Progress) -> None:
    disk.write(folder / orders.PROGRESS, orders.encode(progress))


def body(resource: Job | Input, kind: type[B]) -> B:
    return msgspec.json.decode(bytes(resource.body), type=kind)
