"""Sets up the demonstration's repository and remote, runs commands in it, and keeps the timeline.

Effects: creates folders and repositories, runs commands, prints.
"""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import corpus

SYSTEM = Path(__file__).parent / "system"
LLMOPS = (sys.executable, "-m", "llmops")
AUTHOR = ("-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")


class Missed(Exception):
    """The demonstration missed one of its thresholds."""


@dataclass
class Stage:
    home: Path
    adjust: Callable[[Path], None] = lambda _: None
    """Changes files of the system before the first commit; tests make everything smaller."""
    timeline: list[tuple[str, float, str]] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def remote(self) -> Path:
        return self.home / "remote.git"

    def set_up(self) -> bool:
        """Create the repository anew, with the results and store of an earlier run; return whether there was one."""
        old = self.home / "before.git"
        if self.work.exists():
            self.llmops("stop", show=False, check=False)
            shutil.rmtree(self.work)
        if self.remote.exists():
            shutil.rmtree(old, ignore_errors=True)
            self.remote.rename(old)
        self.home.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.remote), at=self.home)
        self.git("init", "--quiet", "--initial-branch=main", str(self.work), at=self.home)
        self.git("remote", "add", "origin", str(self.remote))
        shutil.copytree(SYSTEM, self.work, dirs_exist_ok=True)
        self._settings()
        kb = self.work / "kb"
        kb.mkdir(exist_ok=True)
        (kb / "topics.jsonl").write_text(corpus.lines(corpus.topics()))
        (kb / "docstrings.jsonl").write_text(corpus.lines(corpus.docstrings()))
        self.adjust(self.work)
        if old.exists():
            self.git("fetch", "--quiet", str(old), "refs/llmops/results:refs/llmops/results", at=self.remote)
        return old.exists()

    def _settings(self) -> None:
        """Place the store beside the repository, so that it outlives the working copy."""
        settings = self.work / "llmops.yaml"
        store = f'  store: {{url: "file://{self.home / "store"}"}}\n'
        settings.write_text(settings.read_text() + store)

    def git(self, *arguments: str, at: Path | None = None) -> str:
        """Run git, and return its output. Raises `Missed` when it fails."""
        command = ["git", *AUTHOR, *arguments]
        process = subprocess.run(command, cwd=at or self.work, capture_output=True, text=True, check=False)
        if process.returncode:
            raise Missed(f"git {' '.join(arguments)} failed: {process.stderr}")
        return process.stdout.strip()

    def commit(self, message: str) -> str:
        """Commit everything and push the branch."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", "--set-upstream", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def llmops(self, *arguments: str, show: bool = True, check: bool = True) -> tuple[int, str]:
        """Run llmops as a reader would, show its output, and return its exit code and its standard output."""
        if show:
            print(f"\n$ {shlex.join(['llmops', *arguments])}", flush=True)
        started = time.monotonic()
        with subprocess.Popen(
            [*LLMOPS, *arguments],
            cwd=self.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if show else subprocess.DEVNULL,
            text=True,
        ) as process:
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                if show:
                    print(f"  {line}", end="", flush=True)
        if check and process.returncode:
            raise Missed(f"llmops {' '.join(arguments)} ended with {process.returncode}")
        if show:
            print(f"  ({time.monotonic() - started:.1f} s, exit code {process.returncode})", flush=True)
        return process.returncode, "".join(lines)

    def ask_json(self, *arguments: str) -> Any:
        """Run llmops with ``-o json``, and decode its output."""
        return json.loads(self.llmops(*arguments, "-o", "json", show=False, check=False)[1])

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a file of the repository. Raises `Missed` when the text is absent."""
        file = self.work / path
        text = file.read_text()
        if old not in text:
            raise Missed(f"{path} does not contain {old!r}")
        file.write_text(text.replace(old, new))

    def title(self, text: str) -> None:
        print(f"\n{'─' * 100}\n{text}\n{'─' * 100}", flush=True)

    def note(self, what: str, seconds: float, figure: str) -> None:
        self.timeline.append((what, seconds, figure))
