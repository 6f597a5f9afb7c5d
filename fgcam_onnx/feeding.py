"""Feeding: what one file gives a model, and what its further inputs take beside the pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import fitted, fitted_frame
from .errors import InputError
from .explainer import Explainer
from .graph.facts import facts_of
from .graph.model import Model, TensorSpec
from .imaging import Preprocess, Sampled, Seen, read_image
from .imaging.arrays import as_view, is_array, read_arrays
from .imaging.finding import find_images
from .imaging.placing import Placement
from .imaging.writing import sha256_of

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Read:
    """What was read of one file.

    Attributes
    ----------
    path : Path
    seen : Seen or Sampled
        The picture and what the model sees of it, or what is no picture; of several images the first.
    x : ndarray
        The images as the model takes them, one or more rows.
    sha256 : str
        Of the file.
    beside : mapping of str to ndarray
        What the file holds for further inputs.
    """

    path: Path
    seen: Seen | Sampled
    x: NDArray[Any]
    sha256: str
    beside: Arrays = field(default_factory=dict)


def read_file(path: Path, *, explainer: Explainer, preprocess: Preprocess) -> Read:
    """Read a picture and prepare it, a folder as the frames of a clip, or an array, which is taken as it is.

    Raises
    ------
    FgcamError
        The file cannot be read, or does not fit.
    """
    if os.path.isdir(path):
        return _clip(path, explainer, preprocess)
    if not is_array(path):
        if explainer.frame is not None and explainer.frame.flat:
            raise InputError(f"{path}: input {explainer.input!r} takes numbers, not pictures; give an array (.npy)")
        if clip_of(spec_of(explainer), explainer.model) is not None:
            raise InputError(f"{path}: input {explainer.input!r} takes clips; give a folder of frames, or an array")
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
    return Read(path, _seen(x[0], explainer), x, sha256_of(path), arrays)


def _seen(x: NDArray[Any], explainer: Explainer) -> Seen | Sampled:
    """Return what the model sees of one image."""
    channel_axis = facts_of(explainer.model).channel_axis.get(explainer.input, 1) - 1
    if x.ndim == 3:
        view = as_view(x, channel_axis=channel_axis)
        return Seen(view, view, Placement.whole((view.height, view.width)))
    values = np.moveaxis(x, channel_axis, 0)
    flat = explainer.frame is not None and explainer.frame.flat
    return Sampled(values, frames=values.ndim == 4 and len(values) == 3, row=flat)


def sources(patterns: Sequence[str], *, clips: bool) -> list[Path]:
    """Return the files that patterns name; where the model takes ``clips``, a folder of frames stands for itself."""
    if not clips:
        return find_images(patterns)
    found = [[Path(one)] if os.path.isdir(one) else find_images([one]) for one in patterns]
    return list(dict.fromkeys(path for paths in found for path in paths))


def spec_of(explainer: Explainer) -> TensorSpec:
    """Return the input that is explained, as the explainer has it."""
    return next(i for i in explainer.model.inputs if i.name == explainer.input)


def clip_of(spec: TensorSpec, model: Model) -> tuple[int, TensorSpec] | None:
    """Return the axis of the frames of an input of clips, and the input of one frame; None where it takes none."""
    axis = facts_of(model).channel_axis.get(spec.name)
    if len(spec.shape) != 5 or axis is None:
        return None
    time = 1 if axis != 1 else 2
    return time, TensorSpec(spec.name, spec.dtype, tuple(d for a, d in enumerate(spec.shape) if a != time))


def _clip(folder: Path, explainer: Explainer, preprocess: Preprocess) -> Read:
    """Read the pictures of a folder, sorted by name, as frames; where there are more than the model takes, evenly."""
    spec = spec_of(explainer)
    found = clip_of(spec, explainer.model)
    if found is None:
        raise InputError(f"{folder}: is a folder, and input {spec.name!r} {list(spec.shape)} takes no clips")
    (time, _), paths = found, find_images([folder])
    count = spec.shape[time]
    if isinstance(count, int):
        if len(paths) < count:
            raise InputError(f"{folder}: holds {len(paths)} frames, and input {spec.name!r} takes {count}")
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, count).round().astype(int)]
    frames = [preprocess(read_image(p, white=preprocess.white)) for p in paths]
    x = np.stack(frames, axis=time)
    return Read(folder, _seen(x[0], explainer), x, sha256("".join(map(sha256_of, paths)).encode()).hexdigest())


def _rows(array: NDArray[Any], explainer: Explainer) -> NDArray[Any]:
    """Return an array as a batch; without one, or without the one channel there is, it is a single image."""
    spec = next(i for i in explainer.model.inputs if i.name == explainer.input)
    framed = np.asarray(array if explainer.frame is None else fitted_frame(array, explainer.frame))
    axis = facts_of(explainer.model).channel_axis.get(spec.name)
    if axis is not None and framed.ndim == len(spec.shape) - 2 and spec.shape[axis] == 1:
        framed = np.expand_dims(framed, axis - 1)
    return fitted(framed[None] if framed.ndim == len(spec.shape) - 1 else framed, spec)


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
