"""What became of a case, and where an exception that nobody should see came from."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgcam_onnx.errors import FgcamError

Rng = np.random.Generator
Draw = Callable[[Rng, Path], "Outcome"]
"""A class of cases: draws one in an empty folder, and judges it."""

KINDS = ("right", "refused", "not judged", "wrong", "fault")
"""``not judged`` runs here, but nothing else can say what it should give; ``wrong`` and ``fault`` are to be mended."""

BAD = ("wrong", "fault")


@dataclass(frozen=True)
class Outcome:
    """One of ``KINDS``, and why: what is told apart, and the whole story."""

    kind: str
    why: str = ""
    story: str = ""


def outcome_of(judge: Callable[[], Outcome]) -> Outcome:
    """Run ``judge``: an error of the package is a refusal, any other exception a fault at its innermost place."""
    try:
        return judge()
    except FgcamError as error:
        if any(not c.isprintable() and c != "\n" for c in str(error)):
            return Outcome("refused", f"{type(error).__name__} with control characters", str(error)[:300])
        return Outcome("refused", type(error).__name__, str(error)[:300])
    except Exception as error:
        return Outcome("fault", f"{type(error).__name__} in {place_of(error)}", story_of(error))


def place_of(error: BaseException) -> str:
    """Return file and function of the last frame in the package, or of the last frame at all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/fgcam_onnx/" in f.filename] or frames
    last = ours[-1]
    return f"{last.filename.rsplit('/fgcam_onnx/')[-1]}:{last.name}"


def story_of(error: BaseException) -> str:
    """Return the last lines of the traceback."""
    return "".join(traceback.format_exception(error)[-4:])[-2000:]


def nearly(ours: Any, theirs: Any, *, rtol: float, least: float = 1e-9) -> bool:
    """Tell whether two arrays agree, relative to the largest magnitude, which counts as ``least`` at least."""
    a, b = np.asarray(ours, np.float64).ravel(), np.asarray(theirs, np.float64).ravel()
    if a.shape != b.shape:
        return False
    if not a.size:
        return True
    return bool(abs(a - b).max() <= rtol * max(abs(b).max(), least))
