"""Files that people name, opened only where they end.

Imports nothing of the package.
"""

from __future__ import annotations

import errno
import os
from io import BufferedReader
from pathlib import Path


def check_ends(path: str | Path) -> None:
    """Refuse a pipe, a socket or a device, which may never end.

    Raises
    ------
    OSError
        It is one.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise OSError(errno.EINVAL, "not a regular file")


def opened(path: str | Path) -> BufferedReader:
    """Open a regular file to read.

    Raises
    ------
    OSError
        It cannot be, or is none.
    """
    check_ends(path)
    try:
        return open(path, "rb")
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
