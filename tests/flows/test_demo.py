"""The demonstration, with everything smaller: every scene, on real Ray, lm-eval, git and a real gateway."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from demo import run
from demo.run import Bars
from demo.stage import Stage
from tests.shrinking import shrink

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_every_scene_shows_what_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path, adjust=shrink)
    try:
        run.main(stage, Bars(chance=0.5, good=0.6, items=40))
        for command in run.TRY:
            stage.llmops(*shlex.split(command)[1:])  # what a reader is told to try works
    finally:
        stage.llmops("stop", show=False, check=False)

    out = capsys.readouterr().out
    assert "Timeline" in out
    assert len(stage.timeline) == 7, [what for what, _, _ in stage.timeline]
    assert "1 rollback, 0 builds, 0 evaluations" in out
    assert ", 0 failed" in out
    assert all(f"  {command}\n" in out for command in run.TRY)
    assert "$ llmops chat router -m 'Return the current event loop.'" in out
