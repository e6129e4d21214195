"""The figures of the documentation: measured as it says, held against the bars that it says."""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from benchmarks import __main__ as main
from benchmarks import bars, comparing, evaluating, page, planning, repositories, results, rig, tools, training
from benchmarks.bars import Bar, Judged, Verdict
from benchmarks.results import Figure, Machine, Results
from benchmarks.rig import Command
from llmops.domain.resources import Key
from llmops.git import repository
from llmops.index import commits
from tests.conftest import ROOT

DOCS = ROOT / "docs"
SYSTEM = ROOT / "demo" / "system" / "specs"
MACHINE = Machine("A processor", cores=2, memory_gib=8.0, system="Linux 6", versions={"git": "2.39.5"})
NOTHING = Results(MACHINE, "2026-01-01")


def committed() -> Results:
    return results.decode((DOCS / "performance.json").read_bytes())


def measured(**seconds: float) -> Results:
    """Results of plans of 10,000 specs, by what took how long."""
    figures = (Figure(planning.GROUP, what, bars.MANY, value, "s") for what, value in seconds.items())
    return results.with_group(NOTHING, planning.GROUP, figures)


def command(tmp_path: Path, script: str) -> Command:
    return Command("a script", 1, (sys.executable, "-I", "-S", "-c", script), tmp_path)


TO_MEASURE = {training.GROUP}
"""Groups that are newer than the committed figures: the next whole run on a quiet machine empties this."""


def test_the_committed_figures_answer_every_bar_but_the_large_ones() -> None:
    unanswered = [one.bar for one in bars.judge(committed()) if one.verdict is Verdict.NOT_MEASURED]

    assert [bar.what for bar in unanswered if f"{bars.MOST:,}" not in bar.what and bar.group not in TO_MEASURE] == []


def options(into: Path) -> argparse.Namespace:
    return argparse.Namespace(into=into, only=[planning.GROUP], specs=[], objects=[], large=False)


def test_the_folder_of_the_results_is_created_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(_: Path) -> str:
        assert (tmp_path / "new" / "figures").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(tools, "install", install)

    with pytest.raises(KeyboardInterrupt):
        main.main(options(tmp_path / "new" / "figures"))
    assert list((tmp_path / "new" / "figures").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tools, "install", lambda _: pytest.fail("measured"))

    for folder in (tmp_path / "file", tmp_path / "file" / "figures", Path("/proc/figures")):
        with pytest.raises(SystemExit, match=f"cannot write to {folder}: .+ Choose another folder: --into DIR"):
            main.main(options(folder))


def test_the_plot_is_of_the_committed_figures() -> None:
    digest = hashlib.sha256((DOCS / "performance.json").read_bytes()).hexdigest()

    assert f"sha256:{digest}" in (DOCS / "performance.svg").read_text()


def test_results_come_back_as_they_were_written() -> None:
    assert results.decode(results.encode(committed())) == committed()


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (1.0, False, "met"),
        (1.001, False, "not met"),
        (1.0, True, "met"),
        (0.999, True, "not met"),
        (None, True, "not measured"),
    ],
)
def test_a_bar_is_met_up_to_its_limit(value: float | None, verdict: str, *, at_least: bool) -> None:
    bar = Bar("plan", "it", lambda _: value, 1.0, "s", at_least=at_least)

    assert Judged(bar, value).verdict == verdict


def test_a_ratio_is_of_two_figures_of_one_run() -> None:
    found = {one.bar.what: one for one in bars.judge(measured(**{planning.PLAN: 0.095, planning.P: 0.0076}))}
    plan = "`llmops plan`, one spec changed, 10,000 specs"

    assert found[plan].verdict is Verdict.MET
    assert found[f"{plan}, in times of P"].value == pytest.approx(12.5)
    assert found[f"{plan}, in times of P"].verdict is Verdict.NOT_MET


def test_what_a_gate_takes_more_than_the_bare_call_is_said_for_each_item() -> None:
    small, large = evaluating.SMALL, evaluating.LARGE
    seconds = {small.gate: 10.5, small.bare: 10.0, large.gate: 42.0, large.bare: 40.0}
    figures = (Figure(evaluating.GROUP, what, evaluating.ITEMS, value, "s") for what, value in seconds.items())
    known = results.with_group(NOTHING, evaluating.GROUP, figures)

    more, times, ten = (one for one in bars.judge(known) if one.bar.group == evaluating.GROUP)

    assert (more.value, more.verdict) == (pytest.approx(0.5), Verdict.MET)
    assert (times.value, times.verdict) == (pytest.approx(1.05), Verdict.MET)
    assert ten.verdict is Verdict.NOT_MEASURED


def test_a_training_is_judged_by_its_first_step_and_by_the_others() -> None:
    seconds = {
        training.OURS + training.FIRST: 12.0, training.PLAIN + training.FIRST: 10.0,
        training.OURS + training.REST: 42.0, training.PLAIN + training.REST: 40.0,
    }  # fmt: skip
    figures = (Figure(training.GROUP, what, training.STEPS, value, "s") for what, value in seconds.items())
    known = results.with_group(NOTHING, training.GROUP, figures)

    first, rest = (judged for judged in bars.judge(known) if judged.bar.group == training.GROUP)

    assert (first.value, first.verdict) == (pytest.approx(2.0), Verdict.MET)
    assert (rest.value, rest.verdict) == (pytest.approx(1.05), Verdict.MET)


def test_the_plain_script_trains_as_the_demo_does() -> None:
    """Its arguments are written out, as a reader would write them."""
    script = (ROOT / "benchmarks" / "plain_trl.py").read_text()
    router = next(
        spec for spec in yaml.safe_load_all((SYSTEM / "training.yaml").read_text()) if spec["spec"]["task"] == "sft"
    )
    given = router["spec"]["arguments"] | router["spec"]["lora"]
    written = {keyword.arg: ast.literal_eval(keyword.value) for call in ast.walk(ast.parse(script))
               if isinstance(call, ast.Call) for keyword in call.keywords
               if keyword.arg in given}  # fmt: skip

    assert written == given


def test_the_table_says_what_is_met_and_what_is_missing() -> None:
    known = replace(measured(**{planning.PLAN: 0.2, planning.P: 0.016}), missing={"gto show": "there is no gto here."})

    told = page.printed(known, [planning.GROUP])

    assert "  llmops plan  200 ms" in told
    assert re.search(r"in times of P +12.5x +at most 12x +not met$", told, re.MULTILINE)
    assert told.endswith("gto show is not measured: there is no gto here.")


def test_a_group_that_is_measured_again_takes_the_place_of_its_old_figures() -> None:
    other = Figure(comparing.GROUP, "dvc status", 1000, 5.0, "s")
    known = results.with_group(measured(old=1.0), comparing.GROUP, [other])

    known = results.with_group(known, planning.GROUP, [Figure(planning.GROUP, "new", 100, 1.0, "s")])

    assert {one.what for one in known.figures} == {"dvc status", "new"}


@pytest.mark.parametrize(("cores", "kept"), [(2, 1), (4, 0)])
def test_figures_of_another_machine_are_not_taken_over(cores: int, kept: int) -> None:
    fresh = replace(NOTHING, machine=replace(MACHINE, cores=cores), day="2026-02-02")

    assert len(results.after(measured(old=1.0), fresh).figures) == kept
    assert results.after(measured(old=1.0), fresh).day == "2026-02-02"


def test_the_cpu_of_a_command_is_that_of_its_children_too(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-S', '-c', {burn!r}])"

    (measured,) = rig.medians([command(tmp_path, parent)], runs=1, warm=0)

    assert measured.cpu >= 0.2
    assert measured.seconds >= 0.2


def test_what_outlives_a_command_is_waited_for_and_counts_but_not_its_time(tmp_path: Path) -> None:
    burn = "import time\ntime.sleep(0.3)\nwhile time.process_time() < 1.0: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-I', '-S', '-c', {burn!r}])"

    measured = rig.run(command(tmp_path, leave))

    assert measured.cpu >= 1.0
    assert measured.seconds < measured.cpu


def test_commands_run_in_turns_and_the_first_turn_does_not_count(tmp_path: Path) -> None:
    def note(what: str) -> Command:
        return replace(command(tmp_path, f"open('turns', 'a').write('{what}')"), what=what)

    measured = rig.medians([note("a"), note("b")], runs=2)

    assert (tmp_path / "turns").read_text() == "ababab"
    assert [one.command.what for one in measured] == ["a", "b"]


def test_a_command_that_fails_ends_it_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"ended with 3: not today"):
        rig.run(command(tmp_path, "import sys; sys.stderr.write('not today'); sys.exit(3)"))


@pytest.mark.slow
def test_peers_that_cannot_be_installed_are_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")

    why = tools.install(tmp_path / "peers")
    missing = comparing.missing({"terraform": "/usr/bin/terraform"}, why)

    assert why.startswith("it cannot be installed: ERROR: ")
    assert set(missing) == {"dvc status", "gto show", "check-jsonschema"}
    assert all(why in told and told.startswith("there is no ") for told in missing.values())


def test_peers_lean_on_one_another_as_the_specs_do(tmp_path: Path) -> None:
    amount = 12
    repositories.make(tmp_path / "repository", amount)
    known = commits.open_at(repository.discover(tmp_path / "repository"))

    graph = commits.desire(known, "HEAD").graph
    keys = [
        Key(repositories.KINDS[number % len(repositories.KINDS)][0], repositories.name_of(number))
        for number in range(amount)
    ]

    assert set(graph.nodes) == set(keys)
    for number, key in enumerate(keys):
        assert {need.key for need in graph.nodes[key].needs} == {keys[one] for one in repositories.needs_of(number)}
