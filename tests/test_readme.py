"""The README's first change by hand, typed as it stands there: every command, every line that it prints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import consoles
from tests.conftest import ROOT


def test_what_the_readme_shows_is_what_is_printed(tmp_path: Path) -> None:
    assert len(consoles.steps((ROOT / "README.md").read_text())) > 10
    consoles.assert_shown([ROOT / "README.md"], tmp_path)


def test_a_page_is_held_to_what_is_printed_except_for_what_no_run_repeats(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = """
```text notes/a.txt
one
two
```

```console
$ cat notes/a.txt
…
two
$ mkdir -p deep && cd deep
$ echo "done in 3.2 s: xxxxxxxxxxxx"; pwd | grep -o deep
done in 12 s: xxxxxxxxxxxx
deep
$ (exit 3)
$ echo "exit code $?"
exit code 3
$ cat <<EOF
> three
> EOF
four
```
"""
    page.write_text(text)

    played = consoles.play([page], tmp_path)

    assert played == {page: text.replace("four", "three").replace("12 s", "3.2 s")}


def test_the_timelines_are_those_of_the_demonstration() -> None:
    """The figures were measured, but the words must be what the demonstration prints today."""
    shown = [line for line in (ROOT / "README.md").read_text().splitlines() if re.match(r" +\d+\.\d s  ", line)]
    words = (ROOT / "demo" / "run.py").read_text()

    assert len(shown) == 8
    for line in shown:
        what = re.split(r" {2,}", line.strip())[1]
        assert what.removeprefix("… ") in words, what


@pytest.mark.parametrize("target", ["help", "demo", "quick", "test", "check", "fix", "docs", "bench"])
def test_make_help_lists_every_command(target: str) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert f"make {target} " in done.stdout
