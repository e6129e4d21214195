"""``llmops`` and ``python -m llmops``: begins with as little as it can, and ends at once.

A plan takes as long as what it imports, so what is imported is watched (tests/test_architecture.py), and four things
are left out here: the garbage collector, which finds nothing to collect while modules are loaded (4 of 90 ms);
typing_extensions, which msgspec does without when it is missing, and which brings inspect, ast and tokenize (8 ms);
platform, which uuid asks for the name of the system, and which compiles patterns first (1 ms; from 3.12 on uuid
does without); and taking the interpreter apart at the end (12 ms).

Effects: those of the command line.
"""

# ruff: noqa: E402  the order is what this module is about
import contextlib
import gc
import os
import sys
from types import ModuleType
from typing import NoReturn

gc.set_threshold(100_000, 50, 50)
if "platform" not in sys.modules:
    sys.modules["platform"] = ModuleType("platform")
    sys.modules["platform"].system = lambda: os.uname().sysname  # type: ignore[attr-defined]
    import uuid  # noqa: F401  msgspec imports it, whatever else it is told is missing

    del sys.modules["platform"]
if "typing_extensions" not in sys.modules:  # None there is how Python is told that it is missing
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    import msgspec  # noqa: F401  looks for it when it is imported, and only then

    del sys.modules["typing_extensions"]

from llmops.cli import main


def run() -> NoReturn:
    """Run one command and end with its exit code."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # what cannot be written now could not before, and the code says so
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
