"""Where a map lies in a picture that is given after it was made."""

from __future__ import annotations

from ..errors import InputError
from ..imaging import Placement, Preprocess


def placed(size: tuple[int, int], *, known: Placement | None, preprocess: Preprocess | None) -> Placement:
    """Return where a map lies in a picture of (width, height).

    Parameters
    ----------
    size : (int, int)
    known : Placement or None
        Where what the model saw lies in the picture that was explained.
    preprocess : Preprocess or None
        How this one was prepared.

    Raises
    ------
    InputError
        It is another picture, or nothing tells.
    """
    if preprocess is not None:
        placement = preprocess.placement(size)
        if known is not None and known.view != placement.view:
            raise InputError(f"preprocess makes {_by(placement.view)} pixels, the model saw {_by(known.view)}")
        return placement
    given = (size[1], size[0])
    if known is not None and given == known.picture:
        return known
    if known is not None and given == known.view:
        return Placement.whole(given)
    if known is not None and known.picture != known.view:
        raise InputError(f"a picture of {_by(known.picture)} was explained, this one is {_by(given)}")
    saw = f"the model saw {_by(known.view)} pixels" if known else "the input was no picture"
    raise InputError(
        f"where the map lies in a picture of {_by(given)} is not known: {saw}. Pass preprocess=, as the picture "
        "was prepared, or the part that the model saw (preprocess.view(picture))"
    )


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
