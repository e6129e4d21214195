"""Writes the page about what commits may contain, from the table that `check` and the steps enforce.

Pure.
"""

from __future__ import annotations

from docs import tables
from llmops.kinds.evaluation.task_policy import MEANINGS, POLICIES, Policy, Rule

INTRO = """
# Policies for the content of commits

Libraries render, import, load and fetch what a commit names. A commit may come from a stranger, and a model or a task
file from the hub. So each piece of content has a policy. What is on no list is a problem of `check`, with file and
line. Reasons: [decision 21](../decisions/0021-policies-for-commit-content.md).

## Content of every commit

| Content | Policy |
|---|---|
| specs, settings, task files | YAML of one dialect, limited in size, depth and aliases; no tag makes an object |
| templates of prompts | Jinja in a sandbox; the steps of a rendering are limited |
| templates of task files | the same sandbox, with the methods that lm-eval's tasks use |
| chat templates of models | in evaluations and trainings the same sandbox, with transformers' extras |
| regular expressions of specs, `regex_replace` | RE2, whose time is linear in the text |
| JSON Schemas of prompts | no reference to another document; patterns are RE2's |
| weights | safetensors; pickles only with `allow_pickle: {reason: …}` |
| rows, documents | files of the commit, or a source with a digest; parsed, never run |
| names on the hub, addresses | pinned to a commit or a digest by the spec or `llmops.lock` |
| metrics by name | those that lm-eval registers; a step loads no program of the hub |
| functions (`!function`) | Python of the commit, which runs in the step; see [trust](trust.md) |

A longer row or conversation may take more steps. A template over its limit fails its unit. An engine that serves a
model renders chat templates in its own process.

An order that does not end for another reason is stopped at `runner.deadline`, or after `runner.idle` without a sign of
work ([settings](../reference/kinds.md#settings)).

Tasks that lm-eval ships are named without a file (`task: hellaswag`), and pinned to the version of lm-eval. Their
functions are code of that package. Their templates are rendered in the same sandbox, and give the same text there. A
shipped task with a metric of the hub is an error.
"""
POLICIES_INTRO = """
## Policies

| Policy | Meaning |
|---|---|
"""
FIELDS_INTRO = """
## Fields of a task file

`a.b` is a part of a mapping, `a[].b` a part of each mapping in a list, and `*` is any other part. A test compares the
table with the fields of the installed lm-eval.

| Field | Policy | Values |
|---|---|---|
"""


def page() -> str:
    meanings = "\n".join(f"| {policy} | {meaning} |" for policy, meaning in MEANINGS.items())
    rows = "\n".join(_row(name, POLICIES[name]) for name in POLICIES)
    return f"{INTRO}{POLICIES_INTRO}{meanings}\n{FIELDS_INTRO}{rows}\n"


def _row(name: str, rule: Rule) -> str:
    return tables.line(f"`{name}`", " or ".join(rule.policies), tables.cell(_values(rule)))


def _values(rule: Rule) -> str:
    if Policy.REFUSED in rule.policies:
        return f"{rule.why.removesuffix('.')}; {_lower(rule.remedy)}"
    if rule.names:
        names = ", ".join(f"`{name}`" for name in sorted(rule.names))
        return f"{names}, or `owner/name` at a revision" if Policy.PINNED in rule.policies else names
    return " or ".join(rule.types)


def _lower(text: str) -> str:
    return text[0].lower() + text[1:].removesuffix(".")
