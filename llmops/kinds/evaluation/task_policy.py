"""Declares what a task file may contain: every field that lm-eval reads has a policy.

lm-eval renders templates, imports functions, loads rows and opens files, all named in the task file. Each field, and
each part of one, has one or more policies. What is on no list is refused, so a field that a later lm-eval adds is
refused until it is listed here.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct


class Function(str):
    """The text behind a ``!function`` tag: ``utils.process``."""

    __slots__ = ()


class Policy(StrEnum):
    """What is done about a value before a library gets it; the value is its name in the documentation."""

    PLAIN = "plain value"
    TEMPLATE = "template"
    FUNCTION = "function of the commit"
    FILE = "file of the commit"
    PINNED = "pinned"
    LISTED = "allow-list"
    REFUSED = "refused"


MEANINGS: Mapping[Policy, str] = {
    Policy.PLAIN: "Data of a known type. No library interprets it.",
    Policy.TEMPLATE: "Jinja, in a sandbox with a limit on its steps; `check` refuses what the sandbox would.",
    Policy.FUNCTION: "`!function module.name` of a Python file beside the task file. It runs only in the step.",
    Policy.FILE: "A path in this repository, in the digest. No absolute path, `..`, address or pattern.",
    Policy.PINNED: "An exact version of something on the hub, in the digest.",
    Policy.LISTED: "One of the names that the installed lm-eval registers, or that llmops lists.",
    Policy.REFUSED: "A problem of `check`.",
}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_integer, value))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_mapping, value))


def _is_any(_: Any) -> bool:
    return True


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "whole number": _is_integer,
    "number": _is_number,
    "true or false": _is_flag,
    "list of texts": _are_texts,
    "list of whole numbers": _are_integers,
    "mapping": _is_mapping,
    "list of mappings": _are_mappings,
    "any data": _is_any,
}


class Rule(Struct, frozen=True, kw_only=True):
    """What one field may contain."""

    policies: tuple[Policy, ...]
    types: tuple[str, ...] = ("text",)
    """Keys of `TYPES`, one of which the value has."""
    names: frozenset[str] = frozenset()
    """The allow-list of `Policy.LISTED`."""
    why: str = ""
    """Reason of a refusal."""
    remedy: str = ""
    renders_items: bool = False
    """Whether the texts of a list are templates, too."""


METRICS = frozenset(
    "acc acc_all acc_bytes acc_mutual_info acc_norm bits_per_byte bleu brier_score bypass byte_perplexity chrf chrf++ "
    "exact_match f1 likelihood mcc perplexity ter word_perplexity".split()
)
AGGREGATIONS = frozenset(
    "bits_per_byte bleu brier_score bypass chrf chrf++ f1 matthews_corrcoef mean median nanmean perplexity ter "
    "weighted_perplexity".split()
)
FILTERS = frozenset(
    "custom format_span lowercase majority_vote map multi_choice_regex regex regex_pos remove_whitespace take_first "
    "take_first_k uppercase".split()
)
SAMPLERS = frozenset(("default", "first_n"))
"""These are the names that the installed lm-eval registers; a contract test compares them."""
LIKELIHOODS = ("loglikelihood", "loglikelihood_rolling", "multiple_choice")
"""Output types that need the likelihoods of tokens, which an engine does not return."""
OUTPUT_TYPES = (*LIKELIHOODS, "generate_until")
LOADERS = ("json", "csv", "parquet", "text", "arrow")
"""Values of ``dataset_path`` that read files; all others are repositories of the hub."""

_PLAIN, _TEMPLATE, _FUNCTION = (Policy.PLAIN,), (Policy.TEMPLATE, Policy.FUNCTION), (Policy.FUNCTION,)
_NO_CODE = "this runs a program that is not in the commit."


def _plain(*types: str) -> Rule:
    return Rule(policies=_PLAIN, types=types or ("text",))


def _template(*types: str) -> Rule:
    return Rule(policies=_TEMPLATE, types=types or ("text",))


def _function(*types: str) -> Rule:
    return Rule(policies=(*_FUNCTION, *_PLAIN) if types else _FUNCTION, types=types)


def _listed(names: frozenset[str], *, functions: bool = True) -> Rule:
    return Rule(policies=(Policy.LISTED, *(_FUNCTION if functions else ())), names=names)


def _refused(why: str, remedy: str) -> Rule:
    return Rule(policies=(Policy.REFUSED,), why=why, remedy=remedy)


def _row_options() -> dict[str, Rule]:
    """Options of the loaders of rows that only say how a file is parsed."""
    texts = "field sep delimiter quotechar escapechar encoding encoding_errors sample_by comment decimal thousands"
    flags = "keep_linebreaks keep_default_na na_filter skip_blank_lines skipinitialspace doublequote"
    return {
        **dict.fromkeys(texts.split(), _plain("text")),
        **dict.fromkeys(flags.split(), _plain("true or false")),
        **dict.fromkeys(("names", "column_names", "columns"), _plain("list of texts")),
        **dict.fromkeys(("skiprows", "nrows", "skipfooter", "quoting"), _plain("whole number")),
        "header": _plain("whole number", "text"),
    }


def _generation_options() -> dict[str, Rule]:
    """Options of the generation that are numbers, flags or stop sequences."""
    integers = "max_gen_toks max_new_tokens max_tokens min_new_tokens top_k num_beams no_repeat_ngram_size seed"
    numbers = "temperature top_p min_p typical_p repetition_penalty length_penalty presence_penalty frequency_penalty"
    return {
        "until": _plain("text", "list of texts"),
        **dict.fromkeys(integers.split(), _plain("whole number")),
        **dict.fromkeys(numbers.split(), _plain("number")),
        **dict.fromkeys(("do_sample", "early_stopping"), _plain("true or false")),
    }


def _below(parent: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"{parent}.{name}": rule for name, rule in rules.items()}


_QUESTION = {
    "doc_to_text": _template("text", "whole number"),
    "doc_to_target": _template("text", "whole number", "list of texts", "list of whole numbers"),
    "doc_to_choice": _template("text", "list of texts", "mapping"),
    "gen_prefix": Rule(policies=(Policy.TEMPLATE,)),
    "target_delimiter": _plain(),
    "fewshot_delimiter": _plain(),
    "process_docs": _function(),
}
"""Fields of a task that its few-shot examples may override."""
POLICIES: Mapping[str, Rule] = {
    **dict.fromkeys(("task", "task_alias"), _plain()),
    "tag": _plain("text", "list of texts"),
    "include": Rule(policies=(Policy.FILE,), types=("text", "list of texts")),
    "dataset_path": Rule(policies=(Policy.LISTED, Policy.PINNED), names=frozenset(LOADERS)),
    "dataset_name": _plain(),
    "dataset_kwargs": _plain("mapping"),
    "dataset_kwargs.data_files": Rule(policies=(Policy.FILE,), types=("text", "list of texts", "mapping")),
    "dataset_kwargs.revision": Rule(policies=(Policy.PINNED,)),
    "dataset_kwargs.token": _refused(
        "a secret is written out here.", "Remove it, and add a reference to the suite: token: env:HF_TOKEN."
    ),
    "dataset_kwargs.data_dir": _refused(
        "this reads any folder of the machine.", "Remove it, and list the files: data_files."
    ),
    "dataset_kwargs.trust_remote_code": _refused(_NO_CODE, "Remove it."),
    **_below("dataset_kwargs", _row_options()),
    "custom_dataset": _function(),
    **dict.fromkeys(("training_split", "validation_split", "test_split", "fewshot_split"), _plain()),
    **_QUESTION,
    **dict.fromkeys(
        ("doc_to_image", "doc_to_audio"),
        Rule(policies=_TEMPLATE, types=("text", "list of texts"), renders_items=True),
    ),
    "unsafe_code": _refused("this lets a task run the code that a model writes.", "Remove it."),
    "process_results": _function(),
    "use_prompt": _refused("lm-eval reads this from a file of the machine or a package.", "Write doc_to_text."),
    "description": Rule(policies=(Policy.TEMPLATE,)),
    "fewshot_config": _plain("mapping"),
    "fewshot_config.sampler": _listed(SAMPLERS),
    "fewshot_config.split": _plain(),
    "fewshot_config.fewshot_indices": _plain("list of whole numbers"),
    "fewshot_config.samples": _function("list of mappings"),
    **_below("fewshot_config", _QUESTION),
    "num_fewshot": _plain("whole number"),
    "metric_list": _plain("list of mappings"),
    "metric_list[].metric": _listed(METRICS),
    "metric_list[].aggregation": _listed(AGGREGATIONS),
    "metric_list[].higher_is_better": _plain("true or false"),
    "metric_list[].hf_evaluate": _refused(_NO_CODE, "Remove it, and use a metric of lm-eval or a !function."),
    "metric_list[].*": _plain("any data"),
    "output_type": _listed(frozenset(OUTPUT_TYPES), functions=False),
    "generation_kwargs": _plain("mapping"),
    **_below("generation_kwargs", _generation_options()),
    "generation_kwargs.custom_generate": _refused(_NO_CODE, "Remove it."),
    "generation_kwargs.trust_remote_code": _refused(_NO_CODE, "Remove it."),
    "repeats": _plain("whole number"),
    "filter_list": _plain("list of mappings"),
    "filter_list[].name": _plain(),
    "filter_list[].filter": _plain("list of mappings"),
    "filter_list[].filter[].function": _listed(FILTERS),
    "filter_list[].filter[].filter_fn": _function(),
    "filter_list[].filter[].*": _plain("any data"),
    "should_decontaminate": _plain("true or false"),
    "doc_to_decontamination_query": Rule(policies=(Policy.TEMPLATE,)),
    "metadata": _plain("any data"),
    "metadata.*": _plain("any data"),
}
"""The policy of every field: ``a.b`` is a part of a mapping, ``a[].b`` of each mapping in a list, ``*`` any other."""
FIELDS = frozenset(name for name in POLICIES if not set(name) & set(".[*"))
"""Fields of lm-eval's TaskConfig, and ``include``; a contract test compares them with the installed version."""
