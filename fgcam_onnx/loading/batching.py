"""Batching: which batch a graph fits, where it does not fit any."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, TypeProto

from ..errors import ModelError
from .folding import folded
from .inference import BATCH, infer_types

LARGEST = 64
"""Images of the largest batch that is tried."""

Arrays = Mapping[str, NDArray[Any]]
Typed = tuple[ModelProto, dict[str, NDArray[Any]], dict[str, TypeProto], str]


def typed(proto: ModelProto, constants: Arrays, *, wanted: Sequence[int] = ()) -> Typed:
    """Return the graph folded, its constants, the type of every tensor, and a note where the batch had to be fixed.

    The batch stays free. Where the graph contradicts itself then, as a Reshape to [1, -1] makes it, the sizes
    ``wanted``, one image, and the numbers that its reshapes name are tried: the first that fits is the batch.

    Raises
    ------
    ModelError
        The graph contradicts itself at every batch that was tried.
    """
    try:
        return *_typed(proto, constants), ""
    except ModelError as error:
        for size in dict.fromkeys((*wanted, 1, *_named(proto, constants))):
            if (fixed := _fixed(proto, size)) is None:
                raise
            try:
                found = _typed(fixed, constants)
            except ModelError:
                continue
            images = "one image" if size == 1 else f"{size} images"
            return *found, f"the file leaves the batch free, but its graph fits {images} only: the batch is {size}"
        raise error


def _typed(proto: ModelProto, constants: Arrays) -> tuple[ModelProto, dict[str, NDArray[Any]], dict[str, TypeProto]]:
    result, kept = folded(proto, constants)
    return result, kept, infer_types(result, kept)


def _fixed(proto: ModelProto, size: int) -> ModelProto | None:
    """Return the graph at a batch of ``size``; None where its batch is not free."""
    fixed = ModelProto()
    fixed.CopyFrom(proto)
    free = [d for i in fixed.graph.input for d in i.type.tensor_type.shape.dim[:1] if d.dim_param == BATCH]
    for dim in free:
        dim.dim_value = size
    return fixed if free else None


def _named(proto: ModelProto, constants: Arrays) -> Iterator[int]:
    """Return the sizes that reshapes name, and the products of two of one reshape, smallest first."""
    numbers: set[int] = set()
    for node in proto.graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and shape.size < 10:
            sizes = [int(s) for s in shape.ravel() if s > 1]
            numbers.update(sizes, (a * b for a, b in itertools.combinations(sizes, 2)))
    return iter(sorted(n for n in numbers if n <= LARGEST))
