"""What callers pass: arrays and targets, checked against the model before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError, NumericsError, TargetError, suggest
from .graph.facts import facts_of
from .graph.model import Model, TensorSpec
from .layers.flow import Flow
from .surgery.framing import Frame

if TYPE_CHECKING:
    from .imaging import Placement

Target = int | Sequence[int] | Sequence[Sequence[int]] | NDArray[np.integer[Any]] | None
"""Classes: one for all images, one or several for each, or the top one."""


def image_input(inputs: Sequence[TensorSpec], name: str | None = None) -> TensorSpec:
    """Return the only input, or the one named.

    Raises
    ------
    InputError
        There are several to choose from, or none of that name.
    """
    specs = {i.name: i for i in inputs}
    if name is None and len(specs) > 1:
        raise InputError(
            f"the model has several inputs: {', '.join(specs)}. Choose the image with input= (--input NAME)"
        )
    if name is not None and name not in specs:
        raise InputError(f"no input {name!r}; the model has {', '.join(specs)}.{suggest(name, specs)}")
    return specs[name] if name is not None else next(iter(specs.values()))


def sides_of(model: Model, name: str) -> tuple[int, ...] | None:
    """Return the sizes of the spatial axes of input ``name``; None where one is not known, or there is none."""
    shape = next(i.shape for i in model.inputs if i.name == name)
    axis = facts_of(model).channel_axis.get(name, 1)
    sides = [d for i, d in enumerate(shape) if i and i != axis]
    return tuple(d for d in sides if isinstance(d, int)) if sides and all(isinstance(d, int) for d in sides) else None


def picture_size(model: Model, name: str) -> tuple[int, int] | None:
    """Return height and width of input ``name``; None where it is no picture of known size."""
    sides = sides_of(model, name)
    return (sides[0], sides[1]) if sides is not None and len(sides) == 2 else None


def fitted_feeds(
    given: Mapping[str, ArrayLike], inputs: Sequence[TensorSpec], *, image: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays that the model takes, by input.

    Raises
    ------
    InputError
        A name is not known, the image is missing, or an array does not fit.
    NumericsError
        The image is not finite.
    """
    specs = {i.name: i for i in inputs}
    for name in given:
        if name not in specs:
            raise InputError(f"no input {name!r}; the model has {', '.join(specs)}.{suggest(str(name), specs)}")
    if image not in given:
        raise InputError(f"no value for input {image!r}")
    feeds = {n: fitted(given[n], s) for n, s in specs.items() if n in given}
    array = feeds[image]
    for name, other in feeds.items():
        wanted = specs[name].shape[0] if specs[name].shape else None
        if wanted is not None and wanted == specs[image].shape[0] and len(other) != len(array):
            raise InputError(f"input {name!r} has a batch of {len(other)}, {image!r} one of {len(array)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise NumericsError(f"{bad} of {array.size} values of {image!r} are NaN or infinite; check the preprocessing")
    return feeds


def fitted(given: ArrayLike, spec: TensorSpec) -> NDArray[Any]:
    """Check an array against the input it is for; floats are converted among themselves."""
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"input {spec.name!r} takes an array: {error}") from None
    if array.ndim != len(spec.shape):
        raise InputError(
            f"input {spec.name!r} takes {len(spec.shape)} dimensions ({_sizes(spec.shape)}), "
            f"got shape {array.shape}; the first is the batch"
        )
    if array.ndim and array.shape[0] == 0:
        raise InputError("the batch is empty")
    for axis, (size, wanted) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if axis and isinstance(wanted, int) and size != wanted:
            raise InputError(f"input {spec.name!r} is {_sizes(spec.shape)}, got shape {array.shape}")
    if array.dtype != spec.dtype and not (array.dtype.kind == "f" and _floating(spec.dtype)):
        raise InputError(f"input {spec.name!r} takes {spec.dtype}, got {array.dtype}; {_way(array, spec)}")
    with np.errstate(over="ignore"):
        return array.astype(spec.dtype, copy=False)


def placed_in(x: object, model: Model, name: str, count: int) -> tuple[Placement, ...]:
    """Return where ``count`` images lie in the pictures that they were made of, as far as array ``x`` knows."""
    from .imaging import Placement, placements_of

    known, size = placements_of(x), picture_size(model, name)
    if size is None or (len(known) == count and all(p.view == size for p in known)):
        return known if size else ()
    return (Placement.whole(size),) * count


def repeated(
    feeds: dict[str, NDArray[Any]], each: int, inputs: Sequence[TensorSpec], *, image: str
) -> dict[str, NDArray[Any]]:
    """Return ``feeds`` with what belongs to the images ``each`` times."""
    first = next(i.shape[0] for i in inputs if i.name == image)
    rows = {i.name for i in inputs if i.shape and i.shape[0] == first}
    return {n: a.repeat(each, 0) if n in rows and each > 1 else a for n, a in feeds.items()}


def fitted_frame(given: ArrayLike, frame: Frame) -> ArrayLike:
    """Return an array of the shape that the file's input has as pictures; what is of another rank as it is.

    Raises
    ------
    InputError
        It does not fit.
    """
    if np.ndim(given) != len(frame.given.shape):
        return given
    array = fitted(given, frame.given)
    try:
        return frame.into(array)
    except ValueError:
        raise InputError(
            f"input {frame.given.name!r} is {_sizes(frame.given.shape)}, got shape {array.shape}"
        ) from None


def fitted_answers(flow: Flow, count: int) -> int:
    """Return how many answers a model gives to ``count`` images.

    Raises
    ------
    InputError
        They are no whole number of bags, or change one another's answers.
    """
    if flow.mixed and count > 1:
        raise InputError(
            f"the answers to the {count} images depend on one another: the model mixes the images of a batch. "
            "Give them one at a time."
        )
    if flow.bag and isinstance(flow.images, int) and count % flow.images:
        raise InputError(f"the model gives one answer for {flow.images} images: {count} are not a multiple of that")
    return flow.answers_to(count)


def _way(array: NDArray[Any], spec: TensorSpec) -> str:
    """Return what to do about an array of another type: pixels are prepared, not converted."""
    if array.ndim in (3, 4) and array.dtype.kind in "iu" and _floating(spec.dtype):
        return (
            "whole numbers look like pixels, which have to be prepared as in training: "
            "fgcam_onnx.imaging.preprocess_from('imagenet').bound(spec.shape, spec.dtype)(picture), or another "
            "preset or file; only where the model was trained on 0 to 255, that is 'none'"
        )
    return f"pass .astype({str(spec.dtype)!r})"


def _floating(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _sizes(shape: Sequence[Any]) -> str:
    return " x ".join(str(d) if d is not None else "?" for d in shape)


def fitted_targets(target: Target, count: int, classes: int) -> NDArray[np.int64]:
    """Return one target per image, -1 for the top class.

    Raises
    ------
    TargetError
        Not class indices, out of range, or not as many as images.
    """
    if target is None:
        return np.full(count, -1, np.int64)
    try:
        targets = np.asarray(target)
    except ValueError:
        targets = np.asarray("ragged")
    if targets.ndim == 1 and len(targets) != count:
        raise TargetError(f"{len(targets)} targets for {count} images; give one, or one per image")
    if targets.dtype.kind not in "iu" or targets.ndim > 1:
        raise TargetError(f"a target is a class index, or one per image; got {target!r}")
    outside = targets[(targets < 0) | (targets >= classes)]
    if outside.size:
        raise TargetError(f"target {int(outside.flat[0])} is out of range: the model has classes 0 to {classes - 1}")
    return np.broadcast_to(targets, (count,)).astype(np.int64)
