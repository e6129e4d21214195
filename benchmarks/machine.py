"""Describes the machine that the benchmarks run on.

Effects: reads /proc, runs programs to ask for their version.
"""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.results import Machine

KIB_A_GIB = 2**20
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
GIT = ("git", "--version")


def describe(programs: Mapping[str, Sequence[str]]) -> Machine:
    """Describe this machine; ``programs`` are the commands that print the versions of programs."""
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    versions = {"CPython": platform.python_version()}
    return Machine(
        processor=processor[1] if processor else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(int(memory[1]) / KIB_A_GIB, 1) if memory else 0.0,
        system=f"{platform.system()} {VERSION.match(platform.release()) and platform.release().split('-')[0]}",
        versions=versions | {name: _version(command) for name, command in {"git": GIT, **programs}.items()},
    )


def _version(command: Sequence[str]) -> str:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    version = VERSION.search(output)
    return version[0] if version else output.strip()
