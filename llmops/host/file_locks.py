"""Takes locks that the kernel releases when their holder exits or is killed.

They are open-file-description locks (fcntl(2), Linux). They work on network file systems, closing another handle of the
file does not release them, and a process can ask for the holder without taking the lock.

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
    """Take a lock and write our process id into it. None if another process holds it.

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
    """Return the process id of the holder of a lock: 0 without one, -1 before it has written its id."""
    try:
        with path.open("r+") as file:
            kind = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE_FILE))[0]
            text = file.read().strip()
    except FileNotFoundError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(text) if text.isdigit() else -1
