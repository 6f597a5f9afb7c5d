"""Constants out of a file from a stranger: initializers, Constant nodes, and data kept beside the file."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ..errors import ModelError
from ..graph.model import PACKED

KINDS: dict[str, tuple[int, Any]] = {
    "value_float": (AttributeProto.FLOAT, np.float32),
    "value_floats": (AttributeProto.FLOATS, np.float32),
    "value_int": (AttributeProto.INT, np.int64),
    "value_ints": (AttributeProto.INTS, np.int64),
}

READ_WHOLE = 2**26
"""Bytes of a data file up to which weights are read: what is mapped ends the process where the file is cut short."""


def constant_node(node: NodeProto, folder: Path | None) -> NDArray[Any] | None:
    """Return the array of a Constant node, or None for any other node."""
    if node.op_type != "Constant" or node.domain or len(node.attribute) != 1 or len(node.output) != 1:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value" and attribute.type == AttributeProto.TENSOR:
        return read_tensor(attribute.t, folder)
    kind, dtype = KINDS.get(attribute.name, (None, None))
    return np.asarray(helper.get_attribute_value(attribute), dtype) if attribute.type == kind else None


def read_tensor(tensor: TensorProto, folder: Path | None) -> NDArray[Any]:
    """Return the values of ``tensor``; data kept beside the file is mapped where it is large.

    Raises
    ------
    ModelError
        The values do not fit the shape, or lie outside ``folder``, or are not there.
    """
    name = tensor.name
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"weight {name!r} is damaged: its shape is {list(tensor.dims)}")
    if tensor.data_type not in helper.get_all_tensor_dtypes():
        raise ModelError(f"weight {name!r} is damaged: there is no element type {tensor.data_type}")
    if uses_external_data(tensor):
        return _beside(tensor, folder)
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # onnx raises KeyError, TypeError, ValueError and others on damaged tensors
        raise ModelError(f"weight {name!r} is damaged: {error}") from None


def _beside(tensor: TensorProto, folder: Path | None) -> NDArray[Any]:
    name = tensor.name
    try:
        info = ExternalDataInfo(tensor)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"weight {name!r} is damaged: {error}") from None
    if folder is None:
        raise ModelError(f"weight {name!r} lies in {info.location!r}: load the model by its path")
    file = _inside(info.location, folder, name)
    count, offset = math.prod(tensor.dims), info.offset or 0
    packed = dtype.name in PACKED
    bits = 4 if packed and "4" in dtype.name else 2
    length = math.ceil(count * bits / 8) if packed else count * dtype.itemsize
    if offset < 0 or length + offset > file.stat().st_size:
        raise ModelError(
            f"external data {info.location!r} is truncated: weight {name!r} ends past it. "
            "Copy or export the model again."
        )
    if count == 0 or dtype.hasobject:
        return np.zeros(tuple(tensor.dims), dtype)
    if not packed and file.stat().st_size > READ_WHOLE:
        return np.memmap(file, dtype, "r", offset, tuple(tensor.dims))
    raw = np.fromfile(file, np.uint8, length, offset=offset)
    if not packed:
        return raw.view(dtype).reshape(tuple(tensor.dims))
    return numpy_helper.to_array(TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=raw.tobytes()))


def files_beside(graph: GraphProto, folder: Path | None) -> frozenset[Path]:
    """Return the files in which constants of ``graph`` lie that `read_tensor` read."""
    nodes = (a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.type == AttributeProto.TENSOR)
    outside = (ExternalDataInfo(t) for t in (*graph.initializer, *nodes) if uses_external_data(t))
    return frozenset((folder / info.location).resolve() for info in outside) if folder is not None else frozenset()


def _inside(location: str, folder: Path, name: str) -> Path:
    """Return the file ``location`` inside ``folder``; links and ``..`` that lead out of it are refused."""
    root = folder.resolve()
    try:
        file = (root / location).resolve()
        outside = os.path.isabs(location) or not file.is_relative_to(root)
        there = os.path.isfile(file)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"weight {name!r} lies in {location!r}, which is not a file name: {error}") from None
    if outside:
        raise ModelError(f"weight {name!r} points outside the model's folder: {location!r}")
    if not there:
        raise ModelError(
            f"external data {location!r} of weight {name!r} is missing in {folder}; copy it beside the model"
        )
    return file
