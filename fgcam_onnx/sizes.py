"""The sizes that a model is run at: what leaves them open, and the model bound to those that come."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from numpy.typing import NDArray

from .asked import for_axes
from .errors import InputError, ModelError, OptionError
from .graph.model import Model, TensorSpec
from .graph.shapes import Shape
from .loading.loading import bind


class Sizes:
    """A model bound to each size of its images that comes; every binding is kept.

    Attributes
    ----------
    free : bool
        Whether the model takes images, or what it takes beside them, of several sizes.
    """

    def __init__(self, model: Model, image: str) -> None:
        spec = next(i for i in model.inputs if i.name == image)
        self.model, self.image = model, image
        self.free = is_open(spec) or bool(open_inputs(model, image))
        self._bound: dict[tuple[int, ...], Model] = {(): model}

    def of(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
        """Return all dimensions of the images but the batch; empty where the model fixes them."""
        return tuple(feeds[self.image].shape[1:]) if self.free else ()

    def bound(self, size: tuple[int, ...]) -> Model:
        """Return the model for images of ``size``, as :meth:`of` tells it."""
        if size not in self._bound:
            self._bound[size] = bound_to(self.model, {self.image: (None, *size)})
        return self._bound[size]


def is_open(spec: TensorSpec) -> bool:
    """Tell whether an input leaves a size open, the batch aside."""
    return not all(isinstance(d, int) for d in spec.shape[1:])


def bound_to(model: Model, shapes: Mapping[str, Shape]) -> Model:
    """Return ``model`` with inputs of ``shapes``.

    Raises
    ------
    InputError
        They do not fit.
    """
    try:
        return bind(model, shapes)
    except ModelError as error:
        sizes = ", ".join(" x ".join(str(d) for d in s if d is not None) for s in shapes.values())
        raise InputError(f"an input of {sizes} does not fit the model: {error}") from error


def open_inputs(model: Model, image: str, *, given: Collection[str] | None = None) -> list[str]:
    """Return the inputs beside ``image`` that leave sizes open, a batch that is that of the images aside.

    Raises
    ------
    InputError
        One of them is not among those ``given``.
    """
    specs = {i.name: i.shape for i in model.inputs}
    batch = specs[image][:1]
    shapes = {n: s[1:] if s[:1] == batch else s for n, s in specs.items() if n != image}
    found = [n for n, s in shapes.items() if not all(isinstance(d, int) for d in s)]
    if given is not None and (missing := [n for n in found if n not in given]):
        raise InputError(f"no value for input {', '.join(map(repr, missing))}")
    return found


def size_given(model: Model, image: str, size: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return all dimensions of input ``image`` but the batch for a ``size`` of its axes; empty where they are fixed.

    Raises
    ------
    InputError
        They are open, and no size is given, or something else than the axes of the size is open.
    OptionError
        The model fixes another size, or the input has another number of axes.
    """
    spec = next(i for i in model.inputs if i.name == image)
    dims, axes = spec.shape[1:], max(len(spec.shape) - 2, 1)
    free = [i for i, d in enumerate(dims) if not isinstance(d, int)]
    size = for_axes(size, axes, "size") if size is not None else None
    if not free:
        if size is not None and size not in (dims[-axes:], dims[:axes]):
            told = [" x ".join(map(str, s)) for s in (dims, size)]
            raise OptionError(f"input {spec.name!r} is {told[0]}, not {told[1]}")
        return ()
    if size is None:
        raise InputError(f"the model leaves the size of input {spec.name!r} open; give one with size= (--size HxW)")
    if len(free) == 3 and axes == 2:
        return (3, *size)
    if len(free) != axes:
        raise InputError(f"input {spec.name!r} has shape {list(spec.shape)}: height and width are not what is open")
    sizes = iter(size)
    return tuple(d if isinstance(d, int) else next(sizes) for d in dims)
