"""Fetches models into the store: from the Hugging Face hub, the repository, or a URL.

Effects: downloads from the hub and from URLs, writes the store.
"""

import hashlib
import importlib
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec

from llmops.domain.orders import Job
from llmops.kinds.model import PICKLED, REMEDY, SAFE, Hub, Model, ModelSource, unsafe
from llmops.steps.context import JobOutput, StepContext, StepFailed, body, check_pin
from llmops.store import blobs

WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*", "README.md")
"""Files of a hub repository that are downloaded: safetensors and their descriptions; no pickles, no code."""
PICKLES = tuple(f"*{ending}" for ending in PICKLED)
"""Also downloaded if the spec allows pickles and the repository has no safetensors."""


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    for job in jobs:
        model = body(job, Model)
        context.report(f"fetching {job.key}")
        if model.source.hf is not None:
            folder = _from_hub(model, model.source.hf, job, context)
        elif model.source.path is not None:
            folder = context.repository(job.files) / model.source.path
        else:
            folder = _from_address(model.source, job, context)
        _check(folder, job, model)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        yield JobOutput(job, {"model": blobs.add_folder(context.store, folder)}, {"bytes": float(size)})


def _from_hub(model: Model, hub: Hub, job: Job, context: StepContext) -> Path:
    client = importlib.import_module("huggingface_hub")  # only the extras install it
    revision, token = job.pins[f"hf://{hub.repo}@{hub.revision}"], context.secret(hub.token)
    wanted, target = [*WANTED], context.scratch("hub")
    if model.allow_pickle:
        names = client.HfApi(token=token).list_repo_files(hub.repo, revision=revision)
        wanted += () if any(name.endswith(SAFE) for name in names) else PICKLES
    client.snapshot_download(hub.repo, revision=revision, local_dir=target, allow_patterns=wanted, token=token)
    shutil.rmtree(target / ".cache", ignore_errors=True)
    return target


def _from_address(source: ModelSource, job: Job, context: StepContext) -> Path:
    uri = str(source.uri)
    archive = context.scratch("download") / "model.tar"
    digest = hashlib.sha256()
    with fsspec.open(uri, "rb", **context.options(source)) as file, archive.open("wb") as target:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            target.write(chunk)
    check_pin(uri, digest.hexdigest(), job)
    folder = context.blank("unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _check(folder: Path, job: Job, model: Model) -> None:
    if not (folder / "config.json").exists():
        raise StepFailed(f"{job.key}: the files have no config.json, so they are no transformers checkpoint.")
    if problem := unsafe([path.name for path in folder.iterdir()], model):
        raise StepFailed(f"{job.key}: the source {problem}. {REMEDY}")
