"""The errors a caller can expect: each says what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from .text import shortened, shown

__all__ = [
    "AbsentError",
    "DeviceError",
    "FgcamError",
    "ImageError",
    "InputError",
    "LayerError",
    "ModelError",
    "NumericsError",
    "OptionError",
    "OutputError",
    "TargetError",
    "UnsupportedOperatorError",
]


class FgcamError(Exception):
    """Root of every error this package raises on purpose."""

    def __str__(self) -> str:
        """Return the message; what strangers' names hold is safe to show, and no longer than is read."""
        return shown(shortened(super().__str__()))


class ModelError(FgcamError):
    """The model file cannot be read, checked, or raised to a supported opset."""


class LayerError(FgcamError):
    """No such layer, or the layer cannot carry the map that was asked for."""


class TargetError(FgcamError):
    """The target class, label or output element does not exist."""


class AbsentError(TargetError):
    """An image does not show what was to be explained: no region of the class, no box near the one given."""


class InputError(FgcamError):
    """The input array does not fit the model."""


class ImageError(FgcamError):
    """A picture cannot be read, or is too large."""


class OptionError(FgcamError):
    """An option has a value that is not known or does not fit the others."""


class DeviceError(FgcamError):
    """The runtime or the device that was asked for is not there."""


class NumericsError(FgcamError):
    """The model or the explanation produced NaN or infinite values."""


class OutputError(FgcamError):
    """A result cannot be written."""


class UnsupportedOperatorError(FgcamError):
    """An operator on the path has no rule for the walk that was asked for."""


OF_ALL = (DeviceError, LayerError, ModelError, OptionError, TargetError, UnsupportedOperatorError)
"""Errors that the next picture would meet, too; an `AbsentError` is of one."""


OF_THE_DISK = frozenset({errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EROFS})
"""What the system says of a disk that takes nothing more: what is not written is not done, and can be gone on with."""


def concerns_all(error: Exception) -> bool:
    """Tell whether an error that one picture met ends a run; any other, expected or not, is that picture's."""
    if isinstance(error, OutputError):
        return isinstance(error.__cause__, OSError) and error.__cause__.errno in OF_THE_DISK
    return isinstance(error, OF_ALL) and not isinstance(error, AbsentError)


def reason(error: Exception) -> str:
    """Return what stopped a picture; what nobody raised on purpose by the exception's name."""
    return str(error) if isinstance(error, FgcamError) else f"unexpected {type(error).__name__}: {shown(str(error))}"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'a' or 'b'?"``, or an empty string when nothing is near ``name``."""
    names, name = list(dict.fromkeys(known)), str(name)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near += [n for n in names if name and name.lower() in n.lower() and n not in near][: 3 - len(near)]
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not among ``known``.

    Raises
    ------
    OptionError
        Says what ``what`` can be, and which names are near.
    """
    names = list(known)
    if not isinstance(name, str) or name not in names:
        raise OptionError(f"unknown {what} {name!r}; choose {', '.join(names)}.{suggest(name, names)}")
