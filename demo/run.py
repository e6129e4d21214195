"""Runs the demonstration: trains and serves a model, gates pull requests, and rolls back with a revert.

Every figure is measured while the demonstration runs. It fails when a figure misses its threshold.

Effects: runs llmops and git, sends requests, prints.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

from demo import corpus
from demo.load import Load
from demo.stage import Missed, Stage

HOME = Path(__file__).parent.parent / ".demo"
TRY = (
    'llmops chat router -m "Set the signal handler for the child process."',
    "llmops status",
    "llmops why Deployment/router --since HEAD~1",
    "llmops history Deployment/router",
)
"""Commands for the reader, printed at the end."""


class Bars(NamedTuple):
    chance: float = 0.25
    """Maximum score of the base model: it guesses."""
    good: float = 0.70
    """Minimum score of the fine-tuned model."""
    items: int = 200
    """Minimum number of held-out items."""
    seconds: float = 8 * 60
    """Maximum duration of the first apply."""


def main(stage: Stage, bars: Bars) -> None:
    started = time.monotonic()
    is_repeated = stage.set_up()
    if is_repeated:
        print("An earlier run left its results and its store in .demo/: they are reused.")
    first_commit_to_endpoint(stage, bars)
    a_change_that_does_not_matter(stage)
    a_pull_request_that_helps(stage)
    a_pull_request_that_poisons(stage)
    a_revert_under_load(stage)
    the_end(stage, time.monotonic() - started, is_repeated=is_repeated)


def first_commit_to_endpoint(stage: Stage, bars: Bars) -> None:
    """Scene 1: from a commit to a trained, evaluated and served model."""
    stage.title("1. The first commit: datasets, a model from scratch, LoRA, lm-eval, an endpoint")
    stage.llmops("init")
    stage.commit("the first system")
    stage.llmops("check")
    started = time.monotonic()
    stage.llmops("apply")
    seconds = time.monotonic() - started
    scores = _scores(stage)
    untrained, tuned, items = scores["untrained"], scores["tuned"], scores["items"]
    stage.llmops("chat", "router", "-m", "Return the current event loop.")
    _require(untrained <= bars.chance, f"the base model scores {untrained:.2f}, more than chance ({bars.chance})")
    _require(tuned >= bars.good, f"the fine-tuned model scores {tuned:.2f}, less than {bars.good}")
    _require(items >= bars.items, f"only {items:.0f} items were held out, less than {bars.items}")
    _require(seconds <= bars.seconds, f"it took {seconds:.0f} s, more than {bars.seconds:.0f}")
    figure = f"exact answers on {items:.0f} held-out docstrings: {untrained:.2f} before, {tuned:.2f} after fine-tuning"
    stage.note("commit -> trained, evaluated, served", seconds, figure)


def a_change_that_does_not_matter(stage: Stage) -> None:
    """Scene 2: fields outside the digest rebuild nothing."""
    stage.title("2. A change that does not matter: description, labels, a comment, the number of replicas")
    stage.git("switch", "--quiet", "--create", "cosmetics")
    stage.edit("specs/training.yaml", "Says which module", "Tells which module")
    stage.edit("specs/training.yaml", "  name: tiny\n", "  name: tiny\n  labels: {team: docs}  # and a comment\n")
    stage.edit("specs/route.yaml", "  keep_warm:", "  replicas: 2\n  keep_warm:")
    stage.commit("describe things better, and run a second replica")
    started = time.monotonic()
    stage.llmops("plan")
    seconds = time.monotonic() - started
    verbs = [action["verb"] for action in stage.ask_json("plan")["actions"]]
    _require(verbs == ["scale"], f"the plan has {verbs} instead of one scale")
    stage.note("plan of a change that does not matter", seconds, "0 to train, 0 to evaluate")
    stage.git("switch", "--quiet", "main")


def a_pull_request_that_helps(stage: Stage) -> None:
    """Scene 3: the gate passes a better model; a canary takes over under live load."""
    stage.title("3. A pull request that helps: train longer; gate, merge, canary under live load")
    stage.git("switch", "--quiet", "--create", "longer")
    stage.edit("specs/training.yaml", *_longer(stage))
    stage.commit("train the router longer")
    started = time.monotonic()
    stage.llmops("gate", "--base", "main", "--head", "longer")
    stage.note("gate of a pull request that helps", time.monotonic() - started, "exit code 0")
    stage.git("switch", "--quiet", "main")
    stage.git("merge", "--quiet", "--no-ff", "--message", "merge: train the router longer", "longer")
    stage.git("push", "--quiet")
    plan = stage.ask_json("plan")
    rebuilt = [action["verb"] for action in plan["actions"] if action["verb"] not in ("prepare", "release")]
    _require(not rebuilt, f"after the merge the plan rebuilds {rebuilt}")
    started = time.monotonic()
    with _load(stage) as load:
        stage.llmops("apply")
    _require(not load.failed, f"{len(load.failed)} requests failed: {load.failed[:1]}")
    counts = ", ".join(f"{revision} {amount}" for revision, amount in load.by_revision().items())
    figure = f"{len(load.answers)} requests, 0 failed ({counts})"
    stage.note("merge -> canary -> promoted, under load", time.monotonic() - started, figure)


def _longer(stage: Stage) -> tuple[str, str]:
    """Return the line with the router's number of steps, and its replacement with half as many again."""
    text = (stage.work / "specs" / "training.yaml").read_text()
    line = [line for line in text.splitlines() if "max_steps" in line][-1]
    steps = int(line.split(":")[1])
    return line, line.replace(str(steps), str(round(steps * 1.5)))


def a_pull_request_that_poisons(stage: Stage) -> None:
    """Scene 4: the gate stops a worse model and explains why."""
    stage.title("4. A pull request that poisons the labels: more rows, but their labels are wrong")
    stage.git("switch", "--quiet", "--create", "scraped")
    rows = corpus.mislabelled(corpus.read((stage.work / "kb" / "docstrings.jsonl").read_text()))
    (stage.work / "kb" / "scraped.jsonl").write_text(corpus.lines(rows))
    data = stage.work / "specs" / "data.yaml"
    data.write_text(data.read_text() + SCRAPED)
    stage.edit(
        "specs/training.yaml", "datasets: [{name: docstrings}]", "datasets: [{name: docstrings}, {name: scraped}]"
    )
    stage.commit("train on scraped docstrings, too")
    started = time.monotonic()
    code, _ = stage.llmops("gate", "--base", "main", "--head", "scraped", check=False)
    _require(code == 1, f"the gate exited with {code} instead of 1")
    stage.note("gate of a pull request that poisons", time.monotonic() - started, "exit code 1: it cannot be merged")
    stage.git("switch", "--quiet", "main")


SCRAPED = """---
apiVersion: llmops/v1alpha1
kind: Dataset
metadata:
  name: scraped
  description: Docstrings from another source, with wrong labels.
spec:
  format: messages
  sources: [{path: kb/scraped.jsonl}]
"""


def a_revert_under_load(stage: Stage) -> None:
    """Scene 5: a rollback is one traffic switch."""
    stage.title("5. git revert of scene 3, while requests keep coming")
    before = _live(stage)
    stage.git("revert", "--no-edit", "--mainline", "1", "HEAD")
    stage.git("push", "--quiet")
    actions = [action["verb"] for action in stage.ask_json("plan")["actions"]]
    _require(actions == ["rollback"], f"the plan has {actions} instead of one rollback")
    with _load(stage) as load:
        time.sleep(1)
        started = time.monotonic()
        stage.llmops("apply")
        seconds = time.monotonic() - started
        time.sleep(1)
    _require(not load.failed, f"{len(load.failed)} requests failed: {load.failed[:1]}")
    _require(_live(stage) != before, "the live revision is still the same")
    last = load.last_of(before)
    switched = max(last - started, 0.0) if last else 0.0
    figure = f"1 rollback, 0 builds, 0 evaluations, {len(load.answers)} requests, 0 failed"
    stage.note("llmops apply of the revert", seconds, figure)
    stage.note(
        "… until the last request that the old revision answered", switched, f"revision {before} -> {_live(stage)}"
    )


def the_end(stage: Stage, seconds: float, *, is_repeated: bool) -> None:
    stage.title("Timeline")
    for what, duration, figure in stage.timeline:
        print(f"  {duration:7.1f} s  {what:<56} {figure}")
    print(f"  {seconds:7.1f} s  everything")
    if is_repeated:
        print("\nIt was this fast because every result is stored under the digest of its inputs: datasets, models and")
        print("evaluations have the same digests as in the first run, so nothing was trained or evaluated again.")
    endpoint = stage.ask_json("status")["endpoint"]
    print(f'\nThe endpoint stays up: {endpoint}/v1 (model "router"). In {stage.work} try:')
    for command in TRY:
        print(f"  {command}")
    print(f"Stop it with: llmops -C {stage.work} stop")
    print("(llmops is .venv/bin/llmops here; `. .venv/bin/activate` puts it on your path.)")


def _load(stage: Stage) -> Load:
    questions = [str(row["docstring"]) for row in corpus.docstrings()[:200]]
    return Load(stage.ask_json("status")["endpoint"], "router", questions)


def _live(stage: Stage) -> str:
    history = stage.ask_json("history", "Deployment/router")
    return next(str(entry["digest"])[:12] for entry in history if entry["what"] == "live")


def _scores(stage: Stage) -> dict[str, float]:
    """Read the scores of the evaluations of HEAD: shares of right answers, and the number of items."""
    rows = {f"{row['key']['kind']}/{row['key']['name']}": row["figures"] for row in stage.ask_json("status")["rows"]}
    untrained = rows["Evaluation/untrained"]["untrained-choice"]
    exact = rows["Evaluation/routing"]["answer"]
    return {"untrained": untrained["acc"], "tuned": exact["exact_match"], "items": exact["items"]}


def _require(condition: bool, message: str) -> None:  # noqa: FBT001  as in assert
    if not condition:
        raise Missed(message)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=HOME, help="folder of the demonstration (default: .demo)")
    try:
        main(Stage(parser.parse_args().home.resolve()), Bars())
    except Missed as missed:
        print(f"\nThe demonstration failed: {missed}", file=sys.stderr)
        sys.exit(1)
