"""moving names -> what they are fixed at: what `llmops lock` writes into `llmops.lock`.

Effects: talks to the Hugging Face hub, reads addresses.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata

from llmops.domain.problems import Broken, LlmopsError

HUB, TASK = "hf://", "lm-eval://"
HEADER = "# What moving names were fixed at. Written by `llmops lock`; commit it.\n"


def resolve(name: str) -> str:
    """Say what a name stands for at this moment: a commit, a digest, or a version.

    Raises `Broken` when it cannot be found out.
    """
    try:
        if name.startswith(HUB):
            return _hub_commit(name)
        if name.startswith(TASK):
            return _task(name.removeprefix(TASK))
        return _digest(name)
    except LlmopsError:
        raise
    except importlib.metadata.PackageNotFoundError as error:
        raise Broken(f"{name} needs {error.name}, which is not installed. pip install 'git-llmops[eval]'.") from None
    except ImportError as error:
        needs = f"{error.name}, which is not installed. pip install 'git-llmops[train]'" if error.name else str(error)
        raise Broken(f"{name} needs {needs}.") from None
    except Exception as error:  # noqa: BLE001  every hub and file system has errors of its own
        raise Broken(f"{name} cannot be looked up: {type(error).__name__}: {error}") from None


def _hub_commit(name: str) -> str:
    repo, _, revision = name.removeprefix(HUB).partition("@")
    hub = importlib.import_module("huggingface_hub")
    found = hub.HfApi().model_info(repo, revision=revision).sha
    if not found:
        raise Broken(f"{name}: the hub does not say which commit that is.")
    return str(found)


def _task(name: str) -> str:
    """Fix a built-in task: its name, the lm-eval that it comes with and the commit of the rows that it asks for.

    The name is part of it because the value is what the closure of an evaluation holds.
    """
    version = importlib.metadata.version("lm_eval")
    entry = importlib.import_module("lm_eval.tasks").TaskManager().task_index.get(name)
    if entry is None:
        raise Broken(f'lm_eval {version} has no task called "{name}". `lm-eval ls tasks` lists them.')
    if entry.kind.name in ("GROUP", "TAG"):
        raise Broken(f"{name} is a group of tasks. Make a suite of each, so that each has its own evidence.")
    repo = (entry.cfg or {}).get("dataset_path")
    if not repo:
        return f"{name} lm_eval=={version}"
    hub = importlib.import_module("huggingface_hub")
    return f"{name} lm_eval=={version} {repo}@{hub.HfApi().dataset_info(repo).sha}"


def _digest(address: str) -> str:
    digest = hashlib.sha256()
    fsspec = importlib.import_module("fsspec")
    with fsspec.open(address, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def text(pins: dict[str, str]) -> str:
    """Write the lock file: one line for each name, sorted, so that two changes seldom meet."""
    lines = [f'  "{name}": "{value}"' for name, value in sorted(pins.items())]
    return HEADER + ("pins:\n" + "\n".join(lines) if lines else "pins: {}") + "\n"
