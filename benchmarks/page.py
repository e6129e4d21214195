"""Renders the results as tables for a terminal, and as the page of the documentation.

Pure.
"""

from collections.abc import Iterable, Sequence

from benchmarks import bars, comparing, evaluating, keeping, planning, recording, training
from benchmarks.bars import Judged, Verdict
from benchmarks.results import Figure, Machine, Results

GROUPS = {
    planning.GROUP: ("Plans", "specs"),
    comparing.GROUP: ("Peers", "objects"),
    recording.GROUP: ("Recording outcomes", "outcomes"),
    keeping.GROUP: ("Storing files", "CPU seconds"),
    evaluating.GROUP: ("Gates", "items"),
    training.GROUP: ("Trainings", "steps"),
}
"""Title of each table, and head of its first column."""
TEXT = """\
<!-- Written by `make bench` from performance.json; the text is in benchmarks/page.py. -->

# Performance

This page compares the run time of llmops with its peers and with the fastest possible program. The project holds itself
to the bars below, and reports those that are not met.

{ratios}
![Seconds against the number of objects, for llmops and for its peers]({plot})

## Bars

{bars}
{missing}
## What was measured

Times are wall-clock times of whole processes, from start to end: medians of runs in turns, so that a pause of the
machine hits all commands alike. Figures of one table were measured in the same turns; cold checks of growing
repositories have turns of their own. Between two tables the speed of the machine may have changed. The repositories are
synthetic: specs of about 40 lines, a quarter each of datasets, trainings, prompts and evaluations that depend on one
another. Everything of the first commit is built; the second commit changes one training.

{machine}

### Plans

**P** is Python doing nothing, `python -I -S -c pass`: no Python program is faster. **F** is Python, `git diff --raw`
and `git cat-file` of the difference: no plan that reads git is faster. `llmops check` checks a commit that is in the
index; `llmops plan` plans one with a changed training. *cold* starts without an index, and its peak is the most memory
that it uses.

{plan}

### Peers

Peers get the same number of objects, with the same dependencies, in the same state: everything built, one input
changed. They do other work than llmops, and more of it. The comparison is the time until the same question is answered.

- `terraform plan`, for `llmops plan`: a built-in `terraform_data` resource for each spec, the state in a local file.
- `dvc status`, for `llmops plan`: a stage for each spec, which depends on the file of the spec and on other stages.
- `gto show`, for `llmops status`: a registered version, which is a tag, for each spec.
- `check-jsonschema`, for `llmops check`: the same specs against [our JSON Schemas](../specs/schemas/Training.json), one
  process for each kind. It has no cache, so the table also has a cold check.

{peers}

### Recording outcomes

{amount:,} outcomes are recorded as one commit of the ledger, which is on the disk at the end (`core.fsync=all` of git).
That commit is then published to a bare remote on the same disk, with one compare-and-swap of its ref. Each is a process
of its own.

{ledger}

### Storing files

CPU seconds, user and system, of a process that only stores files, and of its descendants. Our store links files, so DVC
is measured twice: as installed, when it copies on this file system, and with `cache.type hardlink`. The bars compare
with the first.

{store}

### Gates

A gate judges a change that adds an evaluation, and builds its evidence once. It is compared with
`lm_eval.simple_evaluate`, called from Python for the same task and model, without reading the 14,000 task files of
lm-eval. Both are whole processes with one thread that load the model and ask {items:,} questions with two answers each.
The models are random: {small} layers of {small_width}, and {large} layers of {large_width}. Then one gate of ten suites
with {few:,} items each is compared with ten command lines of lm-eval. *CPU* is that of all processes.

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

takes about half an hour, prints these tables, and writes `docs/performance.json`, this page and the plot. It installs
the peers and matplotlib into a virtual environment in `build/peers` (400 MB; exact versions are in
`benchmarks/constraints.txt`). Its repositories are below `TMPDIR` and need 10 GiB. `terraform` is measured if it is on
the path. A peer that cannot be installed is reported and left out. The figures are written after every group, so an
interrupted run can be continued with `--only`. Figures of a busy machine are worthless: check its load first.

    make bench BENCH="--only plan"           measure one group; keep the figures of the others
    make bench BENCH="--large"               also plan {most:,} specs: five minutes more
    make bench BENCH="--into /tmp/figures"   write to another folder than docs/
"""
RATIOS = "On {objects:,} objects:\n\n{each}\n"


def page(results: Results) -> str:
    tables = {group: _markdown(_pivot(results, group)) for group in GROUPS}
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
    parts = [f"{GROUPS[group][0]}\n{_plain(_pivot(results, group))}" for group in shown]
    judged = [bar for bar in bars.judge(results) if bar.bar.group in shown]
    missing = [f"{what} is not measured: {why}" for what, why in results.missing.items()]
    return "\n\n".join([*parts, f"Bars\n{_plain(_bars(judged))}", *missing])


def _ratios(results: Results) -> str:
    measured = [(peer, bar) for peer, bar in zip(comparing.PEERS, _of_peers(results), strict=True) if bar.value]
    each = "\n".join(
        f"- `{peer.ours}` is {_number(bar.value or 0)} times as fast as `{peer.what}`" for peer, bar in measured
    )
    return RATIOS.format(objects=bars.PEER_OBJECTS, each=each) if measured else ""


def _of_peers(results: Results) -> list[Judged]:
    return [bar for bar in bars.judge(results) if bar.bar.group == comparing.GROUP]


def _machine(machine: Machine, day: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{day}, {machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}.\nVersions: "
        f"{versions}."
    )


def _bars(judged: Iterable[Judged]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("what", "measured", "bar", "")]
    for bar in judged:
        sign = "at least" if bar.bar.at_least else "at most"
        value = "" if bar.value is None else _amount(bar.value, bar.bar.unit)
        rows.append((bar.bar.what, value, f"{sign} {_amount(bar.bar.limit, bar.bar.unit)}", bar.verdict))
    return rows


def _pivot(results: Results, group: str) -> list[Sequence[str]]:
    """Make a row for each measurement, and a column for each number of objects."""
    figures = [figure for figure in results.figures if figure.group == group]
    sizes = sorted({figure.objects for figure in figures})
    names = {amount.files: amount.what for amount in keeping.AMOUNTS} if group == keeping.GROUP else {}
    head = [GROUPS[group][1], *(names.get(size, f"{size:,}") for size in sizes)]
    rows = dict.fromkeys(figure.what for figure in figures)
    return [head, *([what, *(_cell(figures, what, size) for size in sizes)] for what in rows)]


def _cell(figures: Iterable[Figure], what: str, size: int) -> str:
    cells = (figure for figure in figures if (figure.what, figure.objects) == (what, size))
    return next((_amount(figure.value, figure.unit) for figure in cells), "")


MILLISECONDS = 1.0
"""Seconds below which a time is written in milliseconds."""


def _amount(value: float, unit: str) -> str:
    if unit == "s" and value < MILLISECONDS:
        return f"{_number(value * 1000)} ms"
    return f"{_number(value)}{'' if unit in ('x', '/s') else ' '}{unit.removeprefix('cpu ')}"


def _number(value: float) -> str:
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
