"""Batching: which batch a graph fits, where it does not fit any."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
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


def first_symbols(proto: ModelProto) -> dict[str, str]:
    """Return what the file calls the free first dimension of each input; empty where it says nothing."""
    dims = {
        i.name: i.type.tensor_type.shape.dim[:1] for i in proto.graph.input if len(i.type.tensor_type.shape.dim) > 1
    }
    return {n: d[0].dim_param for n, d in dims.items() if d and not d[0].dim_value}


def apart(
    proto: ModelProto, constants: Arrays, said: Mapping[str, str], *, named: Set[str] = frozenset()
) -> ModelProto:
    """Return the graph with numbers that are not the batch's named apart, as the texts beside a picture are many.

    Names alone say little, since some exporters name every dimension differently. Where the graph fits batches of
    different sizes for different names, they are apart; the batch is the pictures'.

    Raises
    ------
    ModelError
        Those of ``named``, which a caller asked for, are different, and the graph does not fit that.
    """
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in proto.graph.input}
    own = next((s for n, s in said.items() if ranks[n] == 4), next(iter(said.values()), ""))
    others = [s for s in dict.fromkeys(said.values()) if s not in ("", own)]
    if not own or not others:
        return proto
    probe, result = ModelProto(), ModelProto()
    probe.CopyFrom(proto)
    result.CopyFrom(proto)
    for tried, kept in zip(probe.graph.input, result.graph.input, strict=True):
        if tried.name in said:
            symbol = said[tried.name]
            number = others.index(symbol) + 1 if symbol in others else 0
            tried.type.tensor_type.shape.dim[0].dim_value = 2 + number
            kept.type.tensor_type.shape.dim[0].dim_param = _distinct(symbol) if number else BATCH
    try:
        _typed(probe, constants)
    except ModelError:
        if len(named) > 1:
            raise ModelError(f"the graph does not fit different numbers of {' and '.join(sorted(named))}") from None
        return proto
    return result


def _distinct(symbol: str) -> str:
    return f"{symbol}_count" if symbol == BATCH else symbol


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
