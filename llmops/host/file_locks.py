"""Locks that the kernel gives back when their holder ends, however it ends.

They are open-file-description locks (fcntl(2), Linux): they work on network file systems, closing another handle of the
file does not drop them, and anyone can ask whether one is held without taking it.

Effects: locks files.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import IO

_FLOCK = "hhqqi4x"
"""struct flock of 64-bit Linux: type, whence, start, length, pid (always 0 for this sort of lock)."""
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def take(path: Path) -> IO[str] | None:
    """Take a lock and write our process id into it, or give None when somebody has it.

    It is held until the file is closed or the process ends.
    """
    file = path.open("a+")
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except OSError:
        file.close()
        return None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(path: Path) -> int:
    """Give the process id of whoever holds a lock, or 0."""
    try:
        with path.open("r+") as file:
            kind = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE_FILE))[0]
            text = file.read().strip()
    except FileNotFoundError:
        return 0
    # Between taking the lock and writing the number, it is held by a process that cannot be named yet.
    return 0 if kind == fcntl.F_UNLCK else int(text) if text.isdigit() else -1
