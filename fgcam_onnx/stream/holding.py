"""One run at a time: a file that a second run cannot take hold of while the first one lives."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OptionError


def held(path: str | Path) -> int:
    """Open a file, made where it is not there, that no other run has open; return its descriptor.

    It is free again when the descriptor is closed or the process is gone. Where files cannot be held (Windows, some
    network file systems) nothing is refused.

    Raises
    ------
    OptionError
        Another run has it.
    OSError
        It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        folder = os.path.dirname(path)
        raise OptionError(f"{folder}: another run is writing it; wait for it, or name another folder") from error
    except (ImportError, OSError):
        pass
    return descriptor
