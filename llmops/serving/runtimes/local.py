"""Runs replicas as supervised processes on this machine, listening on loopback.

``replicas/<deployment>-<revision>-<n>/`` is the folder of a replica's supervisor. ``models/<digest>/model`` is its
model, linked from the store. The next run finds both again; after a reboot the next apply restarts the replicas.

Effects: starts and ends processes, reads and writes the runtime folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from llmops.domain.digests import SHORT, Digest
from llmops.host import disk
from llmops.plugins.engine import Replica
from llmops.plugins.fields import Body
from llmops.plugins.runtime import Phase, ReplicaSetSpec, ReplicaStatus
from llmops.serving import revisions, supervised
from llmops.serving.engines import ENGINES
from llmops.store import blobs
from llmops.store.blobs import Store

HOST = "127.0.0.1"
LABEL = "replica.json"


class Label(Struct, frozen=True):
    deployment: str
    revision: Digest
    number: int
    model: Digest


class Config(Body, frozen=True, kw_only=True):
    """There are no options."""


class Local:
    config = Config

    def open(self, _config: Config, folder: Path, open_store: Callable[[], Store]) -> LocalReplicas:
        return LocalReplicas(folder, open_store)


class LocalReplicas:
    def __init__(self, folder: Path, open_store: Callable[[], Store]) -> None:
        self._folder, self._open_store = folder, open_store

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        for label, folder in reversed(self._of(replica_set.deployment, replica_set.revision)):
            if label.number >= replica_set.replicas:
                self._end(folder)
        for number in range(replica_set.replicas):
            name = f"{replica_set.deployment}-{replica_set.revision[:SHORT]}-{number}"
            folder = self._folder / "replicas" / name
            if supervised.look(folder).phase in (Phase.STOPPED, Phase.FAILED):
                self._start(replica_set, number, folder)

    def look(self) -> tuple[ReplicaStatus, ...]:
        return tuple(self._status(label, folder) for label, folder in self._labels())

    def stop(self, deployment: str, revision: Digest) -> None:
        for _, folder in reversed(self._of(deployment, revision)):
            self._end(folder)
        self._sweep_models()

    def logs(self, deployment: str) -> Iterator[str]:
        for label, folder in self._labels():
            if label.deployment == deployment:
                yield from (f"{folder.name}: {line}" for line in supervised.logs(folder))

    def _start(self, replica_set: ReplicaSetSpec, number: int, folder: Path) -> None:
        model = self._folder / "models" / replica_set.model / "model"
        blobs.materialise(self._open_store(), replica_set.model, model)
        engine = ENGINES[replica_set.engine]
        replica = Replica(name=folder.name, model=model, host=HOST, port=supervised.free_port(HOST))
        command = engine.command(msgspec.convert(replica_set.config, engine.config), replica)
        folder.mkdir(parents=True, exist_ok=True)
        label = Label(replica_set.deployment, replica_set.revision, number, replica_set.model)
        disk.write(folder / LABEL, msgspec.json.encode(label))
        supervised.start(folder, revisions.program(command, replica, replica_set.sampling, replica_set.deadline))

    def _status(self, label: Label, folder: Path) -> ReplicaStatus:
        state, program = supervised.look(folder), supervised.program(folder)
        return ReplicaStatus(
            deployment=label.deployment,
            revision=label.revision,
            name=folder.name,
            phase=state.phase,
            url=f"http://{program.host}:{program.port}" if program else "",
            restarts=state.restarts,
            error=state.error,
        )

    def _labels(self) -> Iterator[tuple[Label, Path]]:
        """List the replicas by number; the last are stopped first."""
        paths = (self._folder / "replicas").glob(f"*/{LABEL}")
        labels = ((msgspec.json.decode(path.read_bytes(), type=Label), path.parent) for path in paths)
        yield from sorted(labels, key=lambda each: (each[0].deployment, each[0].revision, each[0].number))

    def _of(self, deployment: str, revision: Digest) -> list[tuple[Label, Path]]:
        replicas = self._labels()
        return [each for each in replicas if (each[0].deployment, each[0].revision) == (deployment, revision)]

    def _end(self, folder: Path) -> None:
        supervised.stop(folder)
        supervised.remove(folder)

    def _sweep_models(self) -> None:
        """Remove prepared models that no replica serves; the store keeps them."""
        used = {label.model for label, _ in self._labels()}
        for folder in (self._folder / "models").glob("*"):
            if folder.name not in used:
                blobs.remove_folder(folder)


RUNTIME = Local()
