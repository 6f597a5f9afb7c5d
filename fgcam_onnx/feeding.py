"""Feeding: what one file gives a model, and what its further inputs take beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import fitted, fitted_frame
from .errors import InputError
from .explainer import Explainer
from .graph.facts import facts_of
from .graph.model import TensorSpec
from .imaging import Preprocess, Seen, read_image
from .imaging.arrays import ARRAYS, as_view, read_arrays
from .imaging.placing import Placement
from .imaging.writing import sha256_of

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Read:
    """What was read of one file.

    Attributes
    ----------
    path : Path
    seen : Seen
        The picture and what the model sees of it; of several images the first.
    x : ndarray
        The images as the model takes them, one or more rows.
    sha256 : str
        Of the file.
    beside : mapping of str to ndarray
        What the file holds for further inputs.
    """

    path: Path
    seen: Seen
    x: NDArray[Any]
    sha256: str
    beside: Arrays = field(default_factory=dict)


def is_array(path: Path) -> bool:
    """Tell whether a file holds arrays, by its name."""
    return path.suffix.lower() in ARRAYS


def read_file(path: Path, *, explainer: Explainer, preprocess: Preprocess) -> Read:
    """Read a picture and prepare it, or an array, which is taken as the model takes it.

    Raises
    ------
    FgcamError
        The file cannot be read, or does not fit.
    """
    if not is_array(path):
        if explainer.frame is not None and explainer.frame.flat:
            raise InputError(f"{path}: input {explainer.input!r} takes numbers, not pictures; give an array (.npy)")
        image = read_image(path, white=preprocess.white)
        seen = Seen(image, preprocess.view(image), preprocess.placement(image.size))
        return Read(path, seen, preprocess(image), sha256_of(path))
    return array_read(path, explainer=explainer)


def array_read(path: Path, *, explainer: Explainer) -> Read:
    """Read a file of arrays, which are taken as the model takes them.

    Raises
    ------
    FgcamError
        The file cannot be read, or does not fit.
    """
    name, arrays = explainer.input, read_arrays(path)
    key = next(iter(arrays)) if len(arrays) == 1 else name
    if key not in arrays:
        raise InputError(f"{path}: holds {', '.join(arrays)}, but no array for input {name!r}")
    x = _rows(arrays.pop(key), explainer)
    channel_axis = facts_of(explainer.model).channel_axis.get(name, 1) - 1
    view = as_view(x[0], channel_axis=channel_axis)
    seen = Seen(view, view, Placement.whole((view.height, view.width)))
    return Read(path, seen, x, sha256_of(path), arrays)


def _rows(array: NDArray[Any], explainer: Explainer) -> NDArray[Any]:
    """Return an array as a batch of pictures."""
    spec = next(i for i in explainer.model.inputs if i.name == explainer.input)
    framed = np.asarray(array if explainer.frame is None else fitted_frame(array, explainer.frame))
    x = fitted(framed[None] if framed.ndim == len(spec.shape) - 1 else framed, spec)
    if x.ndim != 4:
        raise InputError(f"input {spec.name!r} takes {list(spec.shape)}, which is no picture to draw on")
    return x


def joined(explainer: Explainer, read: Sequence[Read], feeds: Arrays) -> dict[str, NDArray[Any]]:
    """Return what the model takes for several files: their images, and what its further inputs take beside them.

    What belongs to the images has a row for each file, or one that is repeated.
    """
    specs = {i.name: i for i in explainer.model.inputs}
    counts = [len(r.x) for r in read]
    found = {explainer.input: np.concatenate([r.x for r in read])}
    for name, spec in specs.items():
        own = [r.beside.get(name, feeds.get(name)) for r in read]
        if name == explainer.input or own[0] is None:
            continue
        if not by_image(spec, specs[explainer.input]):
            found[name] = np.asarray(own[0])
            continue
        rows = [_row(np.asarray(a), spec, count) for a, count in zip(own, counts, strict=True)]
        found[name] = np.concatenate(rows)
    return found


def by_image(spec: TensorSpec, image: TensorSpec) -> bool:
    """Tell whether an input has a row for each image."""
    return bool(spec.shape) and spec.shape[0] == image.shape[0]


def _row(array: NDArray[Any], spec: TensorSpec, count: int) -> NDArray[Any]:
    """Return what belongs to ``count`` images of a file: as many rows, or one for all of them."""
    rows = array[None] if array.ndim == len(spec.shape) - 1 else array
    if rows.ndim != len(spec.shape) or len(rows) not in (1, count):
        raise InputError(f"input {spec.name!r} takes {list(spec.shape)}, one row for each image; got {array.shape}")
    return rows.repeat(count, 0) if len(rows) == 1 else rows
