"""The door to onnxruntime: which of its wheels is installed, and what to do where none or both are."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

from .errors import DeviceError

INSTALL = 'pip install "fgcam-onnx[cpu]", or pip install "fgcam-onnx[gpu]" for CUDA'
FATAL_ONLY = 4
"""Log severity: onnxruntime logs what it skips, and on the terminal every error that it raises, too."""


@functools.cache
def onnxruntime_module() -> Any:
    """Return the module onnxruntime, its logger lowered.

    Raises
    ------
    DeviceError
        Neither wheel is installed, or both, which overwrite each other's files.
    """
    wheels = [w for w in ("onnxruntime", "onnxruntime-gpu") if is_installed(w)]
    if len(wheels) > 1:
        raise DeviceError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            f"pip uninstall onnxruntime onnxruntime-gpu, then {INSTALL}"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError(f"ONNX Runtime is not installed ({error}): {INSTALL}") from None
    onnxruntime.set_default_logger_severity(FATAL_ONLY)
    return onnxruntime


def is_installed(wheel: str) -> bool:
    """Tell whether a distribution is installed."""
    try:
        importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
