"""Turn ``--target`` and ``--seed`` into targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OptionError
from ..files import check_ends

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..imaging import Preprocess
    from ..targets import AnyTarget

HELP = (
    "What to explain: ID or LABEL of a class; top:K, the K top classes; classes:A,B, several, a map of each; sum:A,B; "
    "diff:A,B, one less the other; element:I[,J], of the output; region:CLASS[@BOX] of a segmentation; "
    "box:BOX[@CLASS], the detection near it; like:PICTURE, likeness of the outputs. BOX is x0,y0,x1,y1 in pixels of "
    "the model's input.  [default: the top class of each picture]"
)
LARGEST_FILE = 2**30
"""Bytes of a ``--seed`` file."""


def read_targets(
    text: str | None,
    *,
    labels: Sequence[str],
    explainer: Explainer,
    preprocess: Preprocess,
    seed: Path | None = None,
    boxes: str = "auto",
) -> tuple[tuple[AnyTarget, ...], int]:
    """Return (targets, top): what to explain of each picture, or how many of its top classes.

    Raises
    ------
    TargetError
        The text is not understood, or a label is not known.
    OptionError
        Both a target and a seed are given, or the file is no array.
    """
    from ..targets import Weighted
    from ..targets.ranked import Top
    from ..targets.said import target_of

    if seed is not None:
        if text is not None:
            raise OptionError("--target and --seed both say what to explain; give one")
        return (Weighted(read_weights(seed)),), 0
    if text is None:
        return (None,), 0

    def embed(path: Path) -> NDArray[np.float32]:
        from ..imaging import read_image

        if len(explainer.model.inputs) > 1:
            raise InputError("--target like:PICTURE needs a model whose only input is the picture")
        found: NDArray[np.float32] = explainer.predict(preprocess(read_image(path)))[0]
        return found

    asked = target_of(text, labels=labels, boxes=boxes, embed=embed)
    return ((None,), asked.count) if isinstance(asked, Top) else ((asked,), 0)


def read_weights(path: Path) -> NDArray[Any]:
    """Read an array from a ``.npy`` file; nothing in it is executed.

    Raises
    ------
    OptionError
        The file is missing, too large, or no array of numbers.
    """
    try:
        check_ends(path)
        if path.stat().st_size > LARGEST_FILE:
            raise OptionError(f"{path}: above {LARGEST_FILE // 2**20} MB, too large for weights of an output")
        # mapped, a header that promises more than the file holds is refused before memory is taken
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, EOFError, OverflowError, SyntaxError) as error:
        raise OptionError(f"{path}: not an array of numbers as numpy.save writes it ({error})") from error
