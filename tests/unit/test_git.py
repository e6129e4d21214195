"""How git is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.git import command


@pytest.mark.parametrize(("verb", "times"), [("update-ref", 2), ("revert", 1)])
def test_what_a_signal_ended_is_done_again_unless_twice_is_something_else(
    verb: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho begun >> {tmp_path}/calls\nkill -TERM $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    with pytest.raises(command.GitFailed):
        command.run(tmp_path, verb, "x")

    assert (tmp_path / "calls").read_text().split() == ["begun"] * times
