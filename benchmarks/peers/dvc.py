"""Runs DVC on a stage for every spec, all of them up to date.

The lock file and the cache are written here, not by ``dvc repro``, which rewrites the lock file after every stage:
1,000 stages take more than ten minutes.

Effects: writes files, runs git and dvc.
"""

import hashlib
import subprocess
from pathlib import Path

import yaml

from benchmarks import repositories
from benchmarks.peers import Peer
from benchmarks.rig import environment


def _prepare(folder: Path, amount: int, program: str) -> None:
    repositories.make(folder, amount)
    subprocess.run([program, "init", "--quiet"], cwd=folder, env=environment(), check=True, capture_output=True)
    stages, locked = {}, {}
    (folder / "out").mkdir()
    for number in range(amount):
        name, out = repositories.name_of(number), f"out/{repositories.name_of(number)}"
        needs = [
            repositories.path_of(number),
            *(f"out/{repositories.name_of(n)}" for n in repositories.needs_of(number)),
        ]
        command = f"python make.py {name}"
        _keep(folder, out, f"What came of {name}.\n".encode())
        stages[name] = {"cmd": command, "deps": needs, "outs": [out]}
        locked[name] = {
            "cmd": command,
            "deps": [_state(folder, path) for path in sorted(needs)],
            "outs": [_state(folder, out)],
        }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}, sort_keys=False))
    with (folder / repositories.path_of(repositories.changed(amount))).open("a") as spec:
        spec.write("# changed\n")


def _keep(folder: Path, path: str, data: bytes) -> None:
    digest = _md5(data)
    cached = folder / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(data)
    (folder / path).write_bytes(data)


def _state(folder: Path, path: str) -> dict[str, str | int]:
    data = (folder / path).read_bytes()
    return {"path": path, "hash": "md5", "md5": _md5(data), "size": len(data)}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


PEER = Peer(
    what="dvc status",
    ours="llmops plan",
    slower=50,
    program="dvc",
    prepare=_prepare,
    arguments=lambda program: (program, "status"),
)
