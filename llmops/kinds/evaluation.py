"""Evaluation: lm-eval suites over a subject, and the gates that judge what they find.

What the suites measure is identity; how it is judged is not: a gate can be changed, and the stored evidence is judged
again.

Pure.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from sys import intern
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Struct

from llmops import dialect
from llmops.dialect import Unreadable
from llmops.fields import Body, about, ref, secret
from llmops.plugin import Kind, Step
from llmops.problems import Complaint, Problem, did_you_mean
from llmops.values import Files, FileUse, Pin, Scope

Rule: TypeAlias = Literal["no_regression", "minimum", "non_inferiority", "superiority"]
OnInconclusive: TypeAlias = Literal["fail", "extend", "neutral"]

TASK_FIELDS = frozenset(
    "task task_alias tag include dataset_path dataset_name dataset_kwargs custom_dataset training_split "
    "validation_split test_split fewshot_split process_docs doc_to_text doc_to_target doc_to_image doc_to_audio "
    "unsafe_code doc_to_choice process_results use_prompt description target_delimiter fewshot_delimiter "
    "fewshot_config num_fewshot metric_list output_type generation_kwargs repeats filter_list "
    "should_decontaminate doc_to_decontamination_query gen_prefix metadata".split()
)
"""Fields of lm-eval's TaskConfig; a contract test holds them against the installed version."""
LOADERS = ("json", "csv", "parquet", "text", "arrow")
"""Values of ``dataset_path`` that read files; every other one is a repository of the hub."""
MOST_TASKS = 256
"""How many task files are remembered: many suites share one."""
COMMIT = re.compile("[0-9a-f]{40}")
OUTPUT_TYPES = ("loglikelihood", "loglikelihood_rolling", "generate_until", "multiple_choice")


class Gate(Body, frozen=True, kw_only=True):
    """How evidence is judged. Verdicts are pass, fail and inconclusive."""

    rule: Annotated[Rule, about("What head has to show.")] = "no_regression"
    detect: Annotated[
        float, about("no_regression: the drop that the suite must be able to see before it may pass.", gt=0)
    ] = 0.05
    value: (
        Annotated[float, about("minimum: the score that the bound has to reach; a ceiling where lower is better.")]
        | None
    ) = None
    margin: Annotated[float, about("non_inferiority: the drop that is tolerated.", ge=0)] | None = None
    alpha: Annotated[
        float, about("Chance of failing a change that changes nothing, over all suites of a gate.", gt=0, lt=0.5)
    ] = 0.05
    power: Annotated[float, about("Chance with which `detect` must be seen.", gt=0.5, lt=1)] = 0.8
    on_inconclusive: Annotated[
        OnInconclusive,
        about(
            "What evidence that does not decide does to a change: fail stops it; extend leaves it pending (exit 7) "
            "until there is more evidence; neutral lets it through and says so. Missing evidence always stops it."
        ),
    ] = "fail"
    against: Annotated[
        Literal["base", "none"], about("Compare with the base revision item by item, or judge head alone.")
    ] = "base"


class Suite(Body, frozen=True, kw_only=True):
    """One lm-eval task, and the gate on one of its metrics."""

    name: Annotated[str, about("What reports call it; the task's file name if not given.", scope=Scope.NONE)] | None = (
        None
    )
    task: Annotated[
        str,
        about(
            "A task YAML of this repository (evals/x.yaml) or the name of a task built into lm-eval.", scope=Scope.NONE
        ),
    ]
    dataset: (
        Annotated[str, ref("Dataset", about="Rows to ask about (its test side); replaces the task's own.")] | None
    ) = None
    metric: (
        Annotated[str, about("Which metric the gate judges; the task's first if not given.", scope=Scope.NONE)] | None
    ) = None
    token: Annotated[str, secret("Access token for rows of the hub that are private or gated.")] | None = None
    num_fewshot: Annotated[int, about("Solved examples in front of each question.", ge=0)] = 0
    limit: Annotated[int, about("Only the first so many items.", ge=1)] | None = None
    trials: Annotated[
        int,
        about("How often each item is asked, each time with another seed; its score is the mean.", ge=1, le=100),
    ] = 1
    cluster: (
        Annotated[
            str,
            about("The column whose value items share that are about the same: they are judged as one.", min_length=1),
        ]
        | None
    ) = None
    gate: Annotated[Gate, about("How the metric is judged.", scope=Scope.NONE)] = Gate()

    @property
    def label(self) -> str:
        """What reports call the suite."""
        return self.name or posixpath.basename(self.task).removesuffix(".yaml").removesuffix(".yml")


class Subject(Body, frozen=True, kw_only=True):
    """What is evaluated."""

    model: Annotated[str, ref("Model", "Training", about="The model.")]
    prompt: (
        Annotated[str, ref("Prompt", about="Ask through this prompt; its variables are columns of the rows.")] | None
    ) = None


class Evaluation(Body, frozen=True, kw_only=True):
    """Suites over one subject. Each suite is evidence of its own, kept item by item."""

    subject: Annotated[Subject, about("What is evaluated.")]
    suites: Annotated[tuple[Suite, ...], about("What is measured.", min_length=1)]
    batch_size: Annotated[int, about("Items at once; scores can move with it, so it is identity.", ge=1)] = 16
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], about("Number format of the weights.")] = "float32"
    device: Annotated[str, about("cpu, cuda or cuda:N.", pattern="^(cpu|cuda(:[0-9]+)?)$")] = "cpu"
    apply_chat_template: Annotated[
        bool, about("Put each question into the model's chat template; a prompt always does.")
    ] = False
    seed: Annotated[int, about("Seed of few-shot choice and of sampling.", ge=0)] = 1234


def check(evaluation: Evaluation) -> Iterable[Complaint]:
    """Labels are unique; gates have what their rule needs."""
    labels: set[str] = set()
    for index, suite in enumerate(evaluation.suites):
        role = f"suites[{index}]"
        if suite.label in labels:
            yield Complaint(f"{role}.name", f'two suites are called "{suite.label}".', "Give one another name.")
        labels.add(suite.label)
        gate = suite.gate
        if gate.rule == "minimum" and gate.value is None:
            yield Complaint(f"{role}.gate.value", "the rule minimum needs a value.", "Add value.")
        if gate.rule == "non_inferiority" and gate.margin is None:
            yield Complaint(f"{role}.gate.margin", "the rule non_inferiority needs a margin.", "Add margin.")
        if gate.rule != "minimum" and gate.against == "none":
            remedy = "Set against: base, or rule: minimum and a value."
            yield Complaint(f"{role}.gate.against", f"{gate.rule} compares with a base.", remedy)


def is_file(task: str) -> bool:
    """Whether a suite's task is a file of the repository rather than a built-in name."""
    return task.endswith((".yaml", ".yml"))


def leads_to(evaluation: Evaluation, files: Files) -> Iterator[FileUse]:
    """The task files, and what they include, import and read."""
    for index, suite in enumerate(evaluation.suites):
        if is_file(suite.task):
            role = intern(f"suites[{index}].task")
            yield FileUse(role, suite.task, Scope.BUILD)
            for path in _named_in(suite, files):
                yield FileUse(f"{role}:{posixpath.relpath(path, posixpath.dirname(suite.task))}", path, Scope.BUILD)


def _named_in(suite: Suite, files: Files) -> Iterator[str]:
    """Every other file that a suite's task needs, each once."""
    seen = {suite.task}
    for path, task in _opened(suite, files):
        if isinstance(task, Unreadable):
            continue  # `examine` says so
        rows = _strings(_kwargs(task).get("data_files")) if suite.dataset is None else ()
        modules = _beside(path, (f"{name.rpartition('.')[0]}.py" for name in task.functions))
        for found in (*_included(path, task), *modules, *rows):
            if found and found not in seen:
                seen.add(found)
                yield found


class Task(Struct, frozen=True):
    """A task file as far as the planner reads it."""

    fields: dict[str, Any]
    functions: tuple[str, ...]
    """What its ``!function`` tags name: ``utils.process``."""


def _opened(suite: Suite, files: Files) -> Iterator[tuple[str, Task | Unreadable]]:
    """The task file of a suite and all that it includes, each once: what it says, or why it cannot be read."""
    waiting, seen = [suite.task], {suite.task}
    while waiting:
        path = waiting.pop(0)
        if path not in files:
            continue  # that is a problem already
        task = _open(path, files)
        yield path, task
        more = [found for found in _included(path, task) if found not in seen] if isinstance(task, Task) else []
        waiting += dict.fromkeys(more)
        seen.update(more)


def _open(path: str, files: Files) -> Task | Unreadable:
    try:
        dialect.check_size(files.size(path))
        return read_task(files[path])
    except Unreadable as error:
        return error


def _included(path: str, task: Task) -> Iterator[str]:
    return _beside(path, _strings(task.fields.get("include")))


def _beside(path: str, names: Iterable[str]) -> Iterator[str]:
    folder = posixpath.dirname(path)
    return (posixpath.normpath(posixpath.join(folder, name)) for name in names if name)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _kwargs(task: Task) -> dict[str, Any]:
    given = task.fields.get("dataset_kwargs")
    return given if isinstance(given, dict) else {}


@lru_cache(MOST_TASKS)
def read_task(data: bytes) -> Task:
    """Read an lm-eval task file without running anything of it. Raises `dialect.Unreadable`, as for a spec."""
    functions: list[str] = []

    def function(name: str) -> str:
        functions.append(name)
        return name

    documents = dialect.load(data, {"!function": function})
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Unreadable(1, "it is not one mapping of fields.")
    return Task(documents[0].value, tuple(functions))


def examine(evaluation: Evaluation, files: Files) -> Iterator[Problem]:
    """Task files are tasks, and their rows cannot change without a commit."""
    for suite in evaluation.suites:
        read: list[tuple[str, Task]] = []
        for path, task in _opened(suite, files) if is_file(suite.task) else ():
            if isinstance(task, Unreadable):
                what = f"this is not a task of lm-eval: {task.what}"
                yield Problem(path, task.line, "", what, task.remedy or "Correct the YAML.")
            else:
                read.append((path, task))
                yield from _wrong_fields(suite, task) if path == suite.task else ()
        if read and suite.dataset is None:
            yield from _wrong_rows(read)


def _wrong_fields(suite: Suite, task: Task) -> Iterator[Problem]:
    for name in sorted(task.fields.keys() - TASK_FIELDS):
        yield Problem(suite.task, 1, f"$.{name}", "lm-eval has no such task field.", did_you_mean(name, TASK_FIELDS))
    output = task.fields.get("output_type", "generate_until")
    if output not in OUTPUT_TYPES:
        yield Problem(suite.task, 1, "$.output_type", f'"{output}" is none.', f"Use one of {', '.join(OUTPUT_TYPES)}.")
    if isinstance(_kwargs(task).get("token"), str):
        remedy = "Remove it, and give the suite a reference: token: env:HF_TOKEN."
        yield Problem(suite.task, 1, "$.dataset_kwargs.token", "a secret is written out here.", remedy)
    if task.fields.get("dataset_kwargs") not in (None, _kwargs(task)):
        remedy = "Write the options by name: dataset_kwargs: {data_files: …}."
        yield Problem(suite.task, 1, "$.dataset_kwargs", "this is not a mapping.", remedy)


def _wrong_rows(read: list[tuple[str, Task]]) -> Iterator[Problem]:
    """A task without a dataset of ours brings its own rows, which must be pinned when they are elsewhere.

    ``read`` is the suite's file and what it includes; the nearer file wins, as in lm-eval.
    """
    whole = Task({name: value for _, task in reversed(read) for name, value in task.fields.items()}, ())
    path = whole.fields.get("dataset_path")
    revision = str(_kwargs(whole).get("revision", ""))
    if isinstance(path, str) and path not in LOADERS and not COMMIT.fullmatch(revision):
        file = next(file for file, task in read if "dataset_path" in task.fields)
        what = f"the rows of {path} are on the hub and may change."
        remedy = "Add dataset_kwargs: {revision: <commit of 40 hexadecimal digits>}, or give the suite a dataset."
        yield Problem(file, 1, "$.dataset_path", what, remedy)
    if not (whole.fields.keys() & {"dataset_path", "custom_dataset"}):
        remedy = "Give the suite a dataset, or the task a dataset_path."
        yield Problem(read[0][0], 1, "", "the task has no rows.", remedy)


def pins(evaluation: Evaluation) -> Iterator[Pin]:
    """A built-in task lives in the lm-eval package and on the hub: both are fixed by the lock."""
    for index, suite in enumerate(evaluation.suites):
        if not is_file(suite.task):
            yield Pin(f"suites[{index}].task", f"lm-eval://{suite.task}")


KIND = Kind(
    body=Evaluation,
    step=Step(name="evaluate", version=1, run="llmops.steps.evaluate", extra="eval", shared=True, parts="suites"),
    check=check,
    leads_to=leads_to,
    examine=examine,
    pins=pins,
)
