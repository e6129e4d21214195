"""Resolves names outside git to exact versions, for `llmops lock`.

Effects: talks to the Hugging Face hub, reads addresses.
"""

import importlib
import importlib.metadata
from typing import Any

from llmops.domain import digests
from llmops.domain.problems import Broken, LlmopsError

HUB, TASK = "hf://", "lm-eval://"
EXAMPLES = "num_fewshot="
"""Begins the number of solved examples in the pin of a built-in task that has one."""
MOST_NAMED = 20
"""Tasks of a group that a message names."""


def resolve(name: str) -> str:
    """Resolve a name to its present commit, digest or version. Raises `Broken` if that fails."""
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
    commit = importlib.import_module("huggingface_hub").HfApi().model_info(repo, revision=revision).sha
    if not commit:
        raise Broken(f"{name}: the hub returned no commit for this revision.")
    return str(commit)


def _task(name: str) -> str:
    """Pin a built-in task: its name, the version of lm-eval, the commit of its rows, and its number of examples.

    The name is part of it because the value is what the closure of an evaluation holds.
    """
    version = importlib.metadata.version("lm_eval")
    entry = importlib.import_module("lm_eval.tasks").TaskManager().task_index.get(name)
    if entry is None:
        raise Broken(f'lm_eval {version} has no task called "{name}". `lm-eval ls tasks` lists them.')
    config = entry.cfg or {}
    if entry.kind.name in ("GROUP", "TAG"):
        raise Broken(_group(name, sorted(entry.tags) if entry.kind.name == "TAG" else config["task"]))
    repo, number = config.get("dataset_path"), config.get("num_fewshot")
    parts = [name, f"lm_eval=={version}"]
    if repo:
        parts.append(f"{repo}@{importlib.import_module('huggingface_hub').HfApi().dataset_info(repo).sha}")
    return " ".join([*parts, f"{EXAMPLES}{number}"] if number else parts)


def _group(name: str, tasks: list[Any]) -> str:
    names = [str(task.get("task", task.get("group", ""))) if isinstance(task, dict) else str(task) for task in tasks]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    what = f"{name} is a group of tasks, and a suite is one task"
    return f"{what}. Declare a suite for each of its tasks: {', '.join(names[:MOST_NAMED])}{more}."


def _digest(address: str) -> str:
    with importlib.import_module("fsspec").open(address, "rb") as file:
        return f"sha256:{digests.of_file(file)}"
