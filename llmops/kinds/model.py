"""Declares a Model: weights and tokenizer from outside, pinned.

Pure.
"""

from collections.abc import Collection, Iterable
from typing import Annotated, Literal, TypeAlias, get_args

from llmops.domain.problems import FieldProblem
from llmops.domain.resources import Files, Pin, Scope
from llmops.plugins.fields import Body, about, file, secret
from llmops.plugins.kind import Choices, Kind, Step
from llmops.plugins.sources import Source, misplaced_token

Stage: TypeAlias = Literal["draft", "candidate", "approved", "archived", "retired"]
STAGES: tuple[str, ...] = get_args(Stage)

COMMIT_LENGTH = 40
SAFE = ".safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Endings of weights that are pickles: https://huggingface.co/docs/hub/security-pickle."""


class Hub(Body, frozen=True, kw_only=True):
    """A repository of the Hugging Face hub."""

    repo: Annotated[str, about("Owner and name.", pattern="^[A-Za-z0-9][-._A-Za-z0-9]*(/[A-Za-z0-9][-._A-Za-z0-9]*)?$")]
    revision: Annotated[
        str,
        about("A commit of 40 hexadecimal digits, or a branch or tag that `llmops lock` pins.", scope=Scope.NONE),
    ] = "main"
    token: Annotated[str, secret("Access token of a private or gated repository.")] | None = None


class ModelSource(Source, frozen=True, kw_only=True):
    """Source of the files: exactly one of `hf`, `path` (a folder) and `uri`."""

    hf: Annotated[Hub | None, about("A repository of the Hugging Face hub.")] = None


class AllowPickle(Body, frozen=True, kw_only=True):
    """Permission for pickled weights, which can run code when they are loaded."""

    reason: Annotated[str, about("Reason to need and to trust them; plans show it.", min_length=1)]


class Model(Body, frozen=True, kw_only=True):
    """A model from outside: its source, licence, card and stage."""

    source: Annotated[ModelSource, about("Source of the weights.")]
    allow_pickle: Annotated[
        AllowPickle | None,
        about("Use pickled weights (.bin, .pt, .pth, .ckpt, .pkl) if there are no safetensors.", scope=Scope.NONE),
    ] = None
    license: Annotated[str | None, about("SPDX identifier of the licence, such as Apache-2.0.", scope=Scope.NONE)] = (
        None
    )
    card: Annotated[str, file("Model card, Markdown under models/.", scope=Scope.NONE)] | None = None
    modality: Annotated[
        Literal["text", "vision", "audio", "multimodal"], about("Input of the model.", scope=Scope.NONE)
    ] = "text"
    stage: Annotated[Stage, about("Stage of approval; only an approved model may serve.", scope=Scope.NONE)] = "draft"


def check(model: Model, _: Choices) -> Iterable[FieldProblem]:
    given = [name for name in ("hf", "path", "uri") if getattr(model.source, name) is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} are set." if given else "no source is set."
        yield FieldProblem("source", what, "Set exactly one of hf, path and uri.")
    yield from misplaced_token(model.source, "source")
    if model.card is not None and not (model.card.startswith("models/") and model.card.endswith(".md")):
        yield FieldProblem("card", f"{model.card} is not a model card.", "Put it under models/ as a .md file.")


def examine(model: Model, files: Files) -> Iterable[FieldProblem]:
    folder = model.source.path
    if folder is None:
        return
    names = {path[len(folder) + 1 :] for path in files.names(folder)}
    if "config.json" not in names:
        yield FieldProblem(
            "source.path", f"{folder} has no config.json.", "Name the folder of a transformers checkpoint."
        )
    elif wrong := unsafe(names, model):
        yield FieldProblem("source.path", f"{folder} {wrong}.", REMEDY)


REMEDY = "Save the weights as safetensors, or set allow_pickle: {reason: …}."


def unsafe(names: Collection[str], model: Model) -> str:
    """Reason why the weights among some files must not be loaded, or ''."""
    if any(name.endswith(SAFE) for name in names):
        return ""
    if not any(name.endswith(PICKLED) for name in names):
        return f"has no {SAFE} file"
    return "" if model.allow_pickle else "has only pickled weights, which can run code when they are loaded"


def remarks(model: Model) -> Iterable[str]:
    if model.allow_pickle is not None:
        yield f"its weights may be pickles, which can run code when they are loaded: {model.allow_pickle.reason}"


def pins(model: Model) -> Iterable[Pin]:
    """Pin a hub repository at its commit, an address at its digest."""
    source = model.source
    if source.hf is not None:
        fixed = len(source.hf.revision) == COMMIT_LENGTH and set(source.hf.revision) <= set("0123456789abcdef")
        name = f"hf://{source.hf.repo}@{source.hf.revision}"
        yield Pin("source.hf.revision", name, source.hf.revision if fixed else "")
    if source.uri is not None:
        yield Pin("source.digest", source.uri, source.digest or "")


def permits(model: Model, live: bool) -> str:  # noqa: FBT001  the signature of plugin.Kind
    """A retired model must not be referenced; only an approved one may serve."""
    if model.stage == "retired":
        return "is retired"
    if live and model.stage != "approved":
        return f'is in stage "{model.stage}"; only an approved model may serve'
    return ""


def moves(old: Model, new: Model) -> Iterable[FieldProblem]:
    """Check that the stage moves by one, in either direction, so that every step can be reverted."""
    if abs(STAGES.index(new.stage) - STAGES.index(old.stage)) > 1:
        yield FieldProblem(
            "stage",
            f'a model cannot go from "{old.stage}" to "{new.stage}" in one step.',
            f"The stages are {' - '.join(STAGES)}: move by one.",
        )


KIND = Kind(
    body=Model,
    provides=("model",),
    step=Step(name="fetch", version=1, run="llmops.steps.fetch"),
    check=check,
    examine=examine,
    remarks=remarks,
    pins=pins,
    permits=permits,
    moves=moves,
)
