"""results -> the table that is printed, and the page of the documentation.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks import bars, comparing, evaluating, keeping, planning, recording
from benchmarks.bars import Judged, Verdict
from benchmarks.results import Figure, Machine, Results

TITLES = {
    planning.GROUP: "Plans",
    comparing.GROUP: "Peers",
    recording.GROUP: "Outcomes written down",
    keeping.GROUP: "Files kept",
    evaluating.GROUP: "Gates",
}
HEADS = {
    planning.GROUP: "specs",
    comparing.GROUP: "objects",
    recording.GROUP: "outcomes",
    keeping.GROUP: "CPU seconds",
    evaluating.GROUP: "items",
}
"""What the columns of a table count."""
TEXT = """\
<!-- Written by `make bench` from performance.json; the text is in benchmarks/page.py. -->

# Performance

Times of llmops, beside its peers and the floor of what is possible. The project holds itself to each bar, and a bar
that is missed is shown.

{ratios}
![Seconds against the number of objects, for llmops and for its peers]({plot})

## Bars

{bars}
{missing}
## What was measured

Wall time of whole processes; medians of interleaved runs, so that a slow phase of the machine slows all of them alike.
The figures of one table come from the same rounds (cold checks of growing repositories from rounds of their own).
Between two tables the machine may have changed its pace. Each repository is synthetic: specs of about 40 lines, a
quarter each of datasets, trainings, prompts and evaluations that refer to one another. The first commit is built; the
second changes one training.

{machine}

### Plans

**P** is Python doing nothing, `python -I -S -c pass`: no program in Python takes less. **F** is Python,
`git diff --raw` and `git cat-file` of what differs: no plan that reads git takes less. `llmops check` checks a
commit that was checked before; `llmops plan` plans one with a changed training. *cold* begins without an index; its
peak is the most memory that it holds at once.

{plan}

### Peers

The same number of objects, with the same references, in the same state: everything built, one thing changed. The peers
do other work than llmops, and more of it. The comparison is of the wait for the answer to the same question.

- `terraform plan`, for `llmops plan`: a built-in `terraform_data` resource for each spec, the state in a local file.
- `dvc status`, for `llmops plan`: a stage for each spec, with the spec's file and its needs' outputs as dependencies.
- `gto show`, for `llmops status`: a registered version, which is a tag, for each spec.
- `check-jsonschema`, for `llmops check`: the same specs against our JSON Schemas (`specs/schemas`), a process for
  each kind. It keeps nothing from one run to the next, so a cold check is in the table, too.

{peers}

### Outcomes recorded

{amount:,} outcomes at once, as one commit of the ledger that is on the disk when it is done (git's `core.fsync=all`);
then that commit published to a bare remote on the same disk, with one compare-and-swap of its ref. Each is a process of
its own.

{ledger}

### Files stored

CPU seconds, user and system, of a process and its children. The store makes hard links, so DVC is measured twice: as it
is installed, when it copies on this file system, and with `cache.type hardlink`. The bars are against the first.

{store}

### Gates

A gate of a change that adds an evaluation, beside `lm_eval.simple_evaluate` called from Python for the same task and
model, without the 14,000 task files that lm-eval brings along. Both are whole processes with one thread that load the
model and ask {items:,} questions with two answers each. The models have random weights: {small} layers of
{small_width}, and {large} layers of {large_width}. Then ten suites of {few:,} items in one gate, beside ten command
lines of lm-eval. *CPU* is that of all processes.

{evaluating}

## Measure again

    make bench

takes about half an hour, prints these tables, and writes `docs/performance.json`, this page and the plot. It installs
the peers and matplotlib into `build/peers` (400 MB, from the package index; exact versions in
`benchmarks/constraints.txt`), and creates its repositories below `TMPDIR`, where it needs 10 GiB. `terraform` is
measured if it is on the path. A peer that cannot be installed is named and left out. Figures are kept after every
group, so an interrupted run goes on with `--only`. Figures of a busy machine are worthless: check the load first.

    make bench BENCH="--only plan"           one group; the figures of the others stay
    make bench BENCH="--large"               {most:,} specs besides: five minutes more
    make bench BENCH="--into /tmp/figures"   write the files elsewhere
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
