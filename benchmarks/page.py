"""results -> the table that is printed, and the page of the documentation.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks import bars, comparing, evaluating, keeping, planning, recording, training
from benchmarks.bars import Judged, Verdict
from benchmarks.results import Figure, Machine, Results

TITLES = {
    planning.GROUP: "Plans",
    comparing.GROUP: "Peers",
    recording.GROUP: "Outcomes written down",
    keeping.GROUP: "Files kept",
    evaluating.GROUP: "Gates",
    training.GROUP: "Trainings",
}
HEADS = {
    planning.GROUP: "specs",
    comparing.GROUP: "objects",
    recording.GROUP: "outcomes",
    keeping.GROUP: "CPU seconds",
    evaluating.GROUP: "items",
    training.GROUP: "steps",
}
"""What the columns of a table count."""
TEXT = """\
<!-- Written by `make bench` from performance.json; the text is in benchmarks/page.py. -->

# Performance

How long llmops takes, beside its peers and the least that is possible. Every bar is one
that the project holds itself to; what does not meet it is said, too.

{ratios}
![Seconds against the number of objects, for llmops and for its peers]({plot})

## Bars

{bars}
{missing}
## What was measured

Whole processes, from their start to their end, on the wall; medians of runs in turns, so that whatever slows the
machine down for a while slows all of them. Figures of one table were measured in the same turns (cold checks of growing
repositories in turns of their own); between two tables the machine may have changed its pace. Each repository is
synthetic: specs of about 40 lines, a quarter each of datasets, trainings, prompts and evaluations that lean on one
another. Everything of its first commit is done; the second changes one training.

{machine}

### Plans

**P** is Python doing nothing, `python -I -S -c pass`: no program in Python takes less. **F** is Python,
`git diff --raw` and `git cat-file` of what differs: no plan that asks git takes less. `llmops check` looks at a commit
that was looked at before, `llmops plan` at one with a changed training. *cold* begins without an index, and its peak is
the most memory that it holds at once.

{plan}

### Peers

The same number of objects, leaning on one another in the same way, in the same state: everything made, one thing
changed. They do other work than llmops, and more of it: what is compared is the wait for the answer to the same
question.

- `terraform plan`, for `llmops plan`: a built-in `terraform_data` resource for each spec, the state in a local file.
- `dvc status`, for `llmops plan`: a stage for each spec, that depends on the spec's file and on what its needs made.
- `gto show`, for `llmops status`: a registered version, which is a tag, for each spec.
- `check-jsonschema`, for `llmops check`: the same specs against [our JSON Schemas](../specs/schemas), a process for
  each kind. It keeps nothing from one run to the next, so a cold check is in the table, too.

{peers}

### Outcomes written down

{amount:,} outcomes at once, as one commit of the ledger that is on the disk when it is done (git's `core.fsync=all`);
then that commit published to a bare remote on the same disk, with one compare-and-swap of its ref. Each is a process of
its own.

{ledger}

### Files kept

CPU seconds, user and system, of a process that does nothing else and of all that it starts. The store links, so for
DVC both is measured: as it is installed, when it copies on this file system, and with `cache.type hardlink`. The bars
are against the first.

{store}

### Gates

A gate of a change that adds an evaluation, whose evidence is made once, beside `lm_eval.simple_evaluate` called from
Python for the same task and model; the 14,000 task files that lm-eval brings along are left alone. Both are whole
processes with one thread that load the model and ask {items:,} questions with two answers each. The models are drawn at
random: {small} layers of {small_width}, and {large} layers of {large_width}. Then ten suites of {few:,} items in one
gate, beside ten command lines of lm-eval, one for each. *CPU* is that of all processes.

{evaluating}

### Trainings

The demo's fine-tune, {steps} steps of LoRA, by `llmops apply` and by
[a plain script of trl](../benchmarks/plain_trl.py) with the same rows, base and arguments, in turns. Both train with
one thread and the same limits of malloc, and end with the same loss. The time until the first step starts with the
process: apply plans the commit, takes the lease and starts the process that trains. *CPU* is that of all processes,
from start to end.

{training}

## Measure again

    make bench

takes about half an hour, prints these tables, and writes `docs/performance.json`, this page and the plot. It makes a
virtual environment for the peers in `build/peers` (400 MB, from the package index; exact versions in
`benchmarks/constraints.txt`), and makes its repositories below `TMPDIR`, where it needs 10 GiB. `terraform` is measured
if it is on the path. A peer that cannot be had is said and left out. The plot is drawn by matplotlib, which is in that
environment: nobody needs it but this command. After every group the figures so
far are kept, so that a run that was interrupted goes on with `--only`. Figures of a busy machine are worthless: look at
the load before.

    make bench BENCH="--only plan"           only one group; figures of the others stay
    make bench BENCH="--large"               with {most:,} specs, too: five minutes more
    make bench BENCH="--into /tmp/figures"   leave the files of docs/ alone
"""
RATIOS = "On {objects:,} objects:\n\n{each}\n"


def page(results: Results) -> str:
    """Write the page."""
    tables = {group: _markdown(_pivot(results, group)) for group in TITLES}
    return TEXT.format(
        ratios=_ratios(results),
        plot="performance.svg",
        bars=_markdown(_bars(bars.judge(results))).replace(f"| {Verdict.NOT_MET} |", f"| **{Verdict.NOT_MET}** |"),
        missing="".join(f"\n- {what} is not measured: {why}" for what, why in results.missing.items())
        + ("\n" if results.missing else ""),
        machine=_machine(results.machine, results.day),
        amount=recording.AMOUNT,
        items=evaluating.ITEMS,
        few=evaluating.ITEMS // evaluating.SUITES,
        small=evaluating.SMALL.layers,
        small_width=evaluating.SMALL.hidden,
        large=evaluating.LARGE.layers,
        large_width=evaluating.LARGE.hidden,
        most=bars.MOST,
        steps=training.STEPS,
        **tables,
    )


def printed(results: Results, groups: Iterable[str]) -> str:
    """Write the figures of some groups, and their bars, for a terminal."""
    shown = tuple(groups)
    parts = [f"{TITLES[group]}\n{_plain(_pivot(results, group))}" for group in shown]
    judged = [one for one in bars.judge(results) if one.bar.group in shown]
    missing = [f"{what} is not measured: {why}" for what, why in results.missing.items()]
    return "\n\n".join([*parts, f"Bars\n{_plain(_bars(judged))}", *missing])


def _ratios(results: Results) -> str:
    found = [(peer, one) for peer, one in zip(comparing.PEERS, _of_peers(results), strict=True) if one.value]
    each = "\n".join(
        f"- `{peer.ours}` is {_number(one.value or 0)} times as fast as `{peer.what}`" for peer, one in found
    )
    return RATIOS.format(objects=bars.PEER_OBJECTS, each=each) if found else ""


def _of_peers(results: Results) -> list[Judged]:
    return [one for one in bars.judge(results) if one.bar.group == comparing.GROUP]


def _machine(machine: Machine, day: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{day}, {machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}.\nVersions: "
        f"{versions}."
    )


def _bars(judged: Iterable[Judged]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("what", "measured", "bar", "")]
    for one in judged:
        sign = "at least" if one.bar.at_least else "at most"
        value = "" if one.value is None else _amount(one.value, one.bar.unit)
        rows.append((one.bar.what, value, f"{sign} {_amount(one.bar.limit, one.bar.unit)}", one.verdict))
    return rows


def _pivot(results: Results, group: str) -> list[Sequence[str]]:
    """Give a row for each thing that was measured, and a column for each number of objects."""
    found = [one for one in results.figures if one.group == group]
    sizes = sorted({one.objects for one in found})
    names = {amount.files: amount.what for amount in keeping.AMOUNTS} if group == keeping.GROUP else {}
    head = [HEADS[group], *(names.get(size, f"{size:,}") for size in sizes)]
    return [head, *([what, *(_cell(found, what, size) for size in sizes)] for what in dict.fromkeys(_names(found)))]


def _names(found: Iterable[Figure]) -> Iterable[str]:
    return (one.what for one in found)


def _cell(found: Iterable[Figure], what: str, size: int) -> str:
    return next((_amount(one.value, one.unit) for one in found if (one.what, one.objects) == (what, size)), "")


MILLISECONDS = 1.0
"""Below so many seconds a time is written in milliseconds."""


def _amount(value: float, unit: str) -> str:
    if unit == "s" and value < MILLISECONDS:
        return f"{_number(value * 1000)} ms"
    return f"{_number(value)}{'' if unit in ('x', '/s') else ' '}{unit.removeprefix('cpu ')}"


def _number(value: float) -> str:
    """Write a number to three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  three digits


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = (f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)
    return "\n".join([head, f"|---|{'---:|' * (len(rows[0]) - 1)}", *rest])


def _plain(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        f"  {row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
