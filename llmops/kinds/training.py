"""Declares a Training: a model built from a base and datasets by transformers, peft and trl on Ray.

Field names are those of Hugging Face: `arguments` of transformers' TrainingArguments and trl's SFTConfig, `lora` of
peft's LoraConfig. A contract test holds them against the installed versions.

Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from llmops.domain.problems import FieldProblem
from llmops.domain.resources import Key, Node, Scope
from llmops.plugins.fields import Body, Options, about, file, ref
from llmops.plugins.kind import ONE_MACHINE, Choices, Kind, Step
from llmops.plugins.training_task import TrainingTask


class DatasetUse(Body, frozen=True, kw_only=True):
    """A dataset of the mixture; its train split is used."""

    name: Annotated[str, ref("rows", about="The dataset.")]
    weight: Annotated[
        float, about("Repetitions of each row in an epoch; 0.5 takes half of the rows, 2 each row twice.", gt=0)
    ] = 1.0


class Architecture(Body, frozen=True, kw_only=True):
    """Configuration of a new model of transformers."""

    model_type: Annotated[
        str, about("A causal language model of transformers: llama, qwen3, …", pattern="^[a-z0-9_-]+$")
    ]
    config: Annotated[Options, about("Fields of that model's configuration class: hidden_size, …")] = {}


class Tokenizer(Body, frozen=True, kw_only=True):
    """Configuration of a new tokenizer, which is trained on the text of the datasets."""

    type: Annotated[Literal["byte_level_bpe"], about("The algorithm of the `tokenizers` library.")] = "byte_level_bpe"
    vocab_size: Annotated[int, about("Number of tokens, with the special ones.", ge=300, le=1_000_000)] = 4096
    special_tokens: Annotated[tuple[str, ...], about("Special tokens of the chat template.")] = ()
    chat_template: (
        Annotated[str, file("Jinja file that turns messages into text, as in tokenizer_config.json.")] | None
    ) = None


class Lora(Body, frozen=True, kw_only=True):
    """Low-rank adapters, with the fields of peft's LoraConfig (https://arxiv.org/abs/2106.09685)."""

    r: Annotated[int, about("Rank of the update matrices.", ge=1)] = 8
    lora_alpha: Annotated[int, about("Scale; the update is multiplied by lora_alpha / r.", ge=1)] = 16
    lora_dropout: Annotated[float, about("Dropout before the adapter.", ge=0, lt=1)] = 0.0
    target_modules: Annotated[
        tuple[str, ...], about("Names of the layers with an adapter; empty means every linear layer.")
    ] = ()
    modules_to_save: Annotated[tuple[str, ...], about("Layers that are trained in full, and stored with it.")] = ()
    use_rslora: Annotated[bool, about("Scale by lora_alpha / sqrt(r).")] = False
    use_dora: Annotated[bool, about("Weight-decomposed adapters.")] = False


class Arguments(Body, frozen=True, kw_only=True):
    """The fields of TrainingArguments and SFTConfig that affect the result.

    The defaults are fixed here, independent of the version of transformers.
    """

    per_device_train_batch_size: Annotated[
        int, about("Rows per step of one worker; several workers share them, so that the result is the same.", ge=1)
    ] = 8
    gradient_accumulation_steps: Annotated[int, about("Number of steps whose gradients are added up.", ge=1)] = 1
    num_train_epochs: Annotated[float, about("Passes over the data.", gt=0)] = 3.0
    max_steps: Annotated[int, about("Total number of steps; -1 uses num_train_epochs.", ge=-1)] = -1
    learning_rate: Annotated[float, about("Peak learning rate.", gt=0)] = 5e-5
    lr_scheduler_type: Annotated[
        Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"],
        about("Schedule of the learning rate."),
    ] = "linear"
    warmup_steps: Annotated[int, about("Number of steps until the peak.", ge=0)] = 0
    optim: Annotated[Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"], about("The optimiser.")] = (
        "adamw_torch"
    )
    weight_decay: Annotated[float, about("Decoupled weight decay.", ge=0)] = 0.0
    adam_beta1: Annotated[float, about("Adam's beta 1.", ge=0, lt=1)] = 0.9
    adam_beta2: Annotated[float, about("Adam's beta 2.", ge=0, lt=1)] = 0.999
    adam_epsilon: Annotated[float, about("Adam's epsilon.", gt=0)] = 1e-8
    max_grad_norm: Annotated[float, about("Maximum norm of the gradients, which are clipped to it.", gt=0)] = 1.0
    label_smoothing_factor: Annotated[float, about("Label smoothing.", ge=0, lt=1)] = 0.0
    neftune_noise_alpha: Annotated[float | None, about("Noise on the embeddings.")] = None
    bf16: Annotated[bool, about("Train in bfloat16; requires a GPU with support for it.")] = False
    gradient_checkpointing: Annotated[bool, about("Recompute activations to save memory.")] = False
    max_length: Annotated[
        int, about("Maximum number of tokens of a row; pretrain cuts the text into blocks of this length.", ge=8)
    ] = 1024
    train_sampling_strategy: Annotated[
        Literal["random", "group_by_length"],
        about("Order of the rows; group_by_length puts rows of similar length into a batch, so that less is padded."),
    ] = "random"
    packing: Annotated[bool, about("Pack several rows into one sequence (sft).")] = False
    assistant_only_loss: Annotated[
        bool, about("Loss on the assistant's turns only; the chat template needs {% generation %} (sft).")
    ] = False
    completion_only_loss: Annotated[bool | None, about("Loss on the completion only; prompt_completion does so.")] = (
        None
    )


class Resources(Body, frozen=True, kw_only=True):
    """Resources of Ray for the training. In no digest: more workers give the same result, faster."""

    workers: Annotated[int, about("Number of processes.", ge=1, le=1024)] = 1
    cpus: Annotated[float, about("CPU cores for each worker.", gt=0)] = 1.0
    gpus: Annotated[float, about("GPUs for each worker; 0 trains on the CPU.", ge=0)] = 0.0


class Checkpoint(Body, frozen=True, kw_only=True):
    """Checkpoints, from which a killed run resumes."""

    save_steps: Annotated[int, about("Number of steps between checkpoints.", ge=1)] = 100
    keep: Annotated[int, about("Number of checkpoints to keep.", ge=1)] = 2


class Training(Body, frozen=True, kw_only=True):
    """A trained model: from scratch (`pretrain`) or from a base (`sft`)."""

    task: Annotated[str, about("Training task: `pretrain` on plain text, `sft` on answers.", plugin="tasks")]
    base: Annotated[str, ref("model", about="Model to start from; optional for pretrain.")] | None = None
    architecture: Annotated[Architecture | None, about("Configuration of the model, if there is no base.")] = None
    tokenizer: Annotated[Tokenizer | None, about("Configuration of the tokenizer, if there is no base.")] = None
    datasets: Annotated[tuple[DatasetUse, ...], about("Datasets of the mixture.", min_length=1)]
    finetuning: Annotated[Literal["full", "lora"], about("Train all weights, or adapters.")] = "full"
    lora: Annotated[Lora | None, about("Configuration of the adapters, if finetuning is lora.")] = None
    arguments: Annotated[Arguments, about("Hyperparameters.")] = Arguments()
    seed: Annotated[int, about("Seed of model, adapter, data order and dropout.", ge=0)] = 42
    resources: Annotated[Resources, about("Resources of Ray for the training.", scope=Scope.NONE)] = Resources()
    checkpoint: Annotated[Checkpoint, about("Checkpoints of the run.", scope=Scope.NONE)] = Checkpoint()


def check(training: Training, choices: Choices) -> Iterable[FieldProblem]:
    """Check the fields against one another. Tasks have their own rules (`llmops.plugins.training_task`)."""
    if training.base is None:
        yield from _from_scratch(training, choices.choice("tasks", training.task))
    else:
        for name in ("architecture", "tokenizer"):
            if getattr(training, name) is not None:
                yield FieldProblem(name, f"the base brings its own {name}.", f"Remove {name}, or remove base.")
    if training.finetuning == "lora" and training.base is None:
        yield FieldProblem("finetuning", "adapters need a base.", "Add base, or set finetuning: full.")
    if training.lora is not None and training.finetuning != "lora":
        yield FieldProblem(
            "lora", "finetuning is full, so adapters are not used.", "Set finetuning: lora, or remove lora."
        )
    batch = training.arguments.per_device_train_batch_size * training.arguments.gradient_accumulation_steps
    if batch % training.resources.workers:
        yield FieldProblem(
            "resources.workers",
            f"{batch} rows of a step cannot be shared evenly by {training.resources.workers} workers.",
            "Choose a divisor of it, so that the result does not depend on the number of workers.",
        )


def _from_scratch(training: Training, task: TrainingTask) -> Iterable[FieldProblem]:
    if task.needs_base:
        yield FieldProblem("base", f"{training.task} needs a base.", "Name a Model or a Training.")
        return
    for name in ("architecture", "tokenizer"):
        if getattr(training, name) is None:
            yield FieldProblem(name, f"{training.task} without a base needs {name}.", f"Add base, or {name}.")


def review(node: Node, nodes: Mapping[Key, Node], choices: Choices) -> Iterable[FieldProblem]:
    name = node.spec.body.task
    task: TrainingTask = choices.choice("tasks", name)
    mixture = [need for need in node.needs if need.field == "datasets"]
    formats = {need.key: _format(nodes[need.key]) for need in mixture}
    for need in mixture:
        first, own = mixture[0].key, formats[need.key]
        if own not in task.formats:
            what = f"{name} does not support the format of {need.key}, {own}."
            yield FieldProblem(need.at, what, f"Use a dataset of format {' or '.join(task.formats)}.")
        elif own != formats[first]:
            what = f"the format of {need.key} is {own}, that of {first} is {formats[first]}."
            yield FieldProblem(need.at, what, "Use datasets of one format.")


def _format(dataset: Node) -> object:
    return next((fact.value for fact in dataset.spec.facts if fact.at == "format"), None)


def devices(training: Training) -> Mapping[str, float]:
    resources = training.resources
    return {"cuda": resources.workers * resources.gpus} if resources.gpus else ONE_MACHINE


KIND = Kind(
    body=Training,
    step=Step(name="train", version=1, run="llmops.steps.training.train", extra="train"),
    check=check,
    review=review,
    provides=("model",),
    reviewed_roles=("rows",),
    devices=devices,
)
