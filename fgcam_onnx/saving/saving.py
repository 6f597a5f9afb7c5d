"""Save: a program as a file of its own, checked against the standard, with what is known of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ..errors import ModelError, OptionError
from ..graph.model import LARGE, PACKED, Model
from ..graph.subgraphs import nodes_inside
from ..loading.computing import closed
from ..loading.inference import BATCH

ALIGNED = 4096
"""Where a weight in a data file may begin: runtimes map whole pages."""

LARGEST = 2**31 - 2**26
"""Bytes of constants that go into one protobuf, with room for the graph."""

KEY = "fgcam."
"""Prefix of the metadata that a written file carries."""

TOLD = {"layers", "method", "normalize", "options", "preprocess", "resize", "target", "version"}
"""What such a file always says of itself; other metadata by that prefix is a stranger's."""


def metadata_of(model: Model) -> dict[str, str]:
    """Return what an exported file says of its explanation, by key without the prefix; empty for any other."""
    props = model.proto.metadata_props
    found = {p.key.removeprefix(KEY): p.value for p in props if p.key.startswith(KEY)}
    return found if found.keys() >= TOLD else {}


def check_plain(model: Model) -> None:
    """Refuse a file that `export` wrote: its appended part would be explained as if it were the model's.

    Raises
    ------
    ModelError
        Always for such a file.
    """
    if metadata_of(model):
        raise ModelError(
            "the model is an exported explanation already: run it in any ONNX runtime, "
            "or explain the model that it was made from"
        )


def described(model: Model, metadata: Mapping[str, str]) -> Model:
    """Return ``model`` with ``metadata`` beside what it says of itself.

    Outputs of which inference finds no shape have the one that the source file says.
    """
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    proto.metadata_props.extend(onnx.StringStringEntryProto(key=KEY + k, value=v) for k, v in metadata.items())
    unknown = [o for o in proto.graph.output if o.type.HasField("tensor_type") and not _has_shape(o)]
    if unknown and model.path is not None and os.path.isfile(model.path):
        source = onnx.load(model.path, load_external_data=False)
        said = {o.name: o for o in source.graph.output if _has_shape(o)}
        for info in unknown:
            info.CopyFrom(said.get(info.name, info))
    return replace(model, proto=proto)


def _has_shape(info: onnx.ValueInfoProto) -> bool:
    return bool(info.type.tensor_type.HasField("shape"))


def with_batch(model: Model, *, names: Collection[str], size: int | None = None) -> Model:
    """Return ``model`` with its free batch written as the first dimension of outputs ``names``, or fixed at ``size``.

    Raises
    ------
    OptionError
        The batch is fixed already, at another size.
    """
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    sizes = [i.shape[0] for i in model.inputs if i.shape]
    free = BATCH in sizes
    if size is not None and not free and size not in sizes:
        raise OptionError(f"the model has a batch of {sizes[0]}, which cannot be made {size}")
    for info in proto.graph.output if free else []:
        if info.name in names and not info.type.tensor_type.shape.dim[0].HasField("dim_value"):
            info.type.tensor_type.shape.dim[0].dim_param = BATCH
    for info in (*proto.graph.input, *proto.graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH and size is not None:
                dim.dim_value = size
    return replace(model, proto=proto)


def domains_of(model: Model) -> frozenset[str]:
    """Return the domain of every operator, those in the bodies of control flow included."""
    return frozenset(n.domain for n in nodes_inside(model.nodes))


def sources_of(model: Model) -> frozenset[Path]:
    """Return the files that ``model`` was read from, its weights' included."""
    return frozenset(Path(os.path.realpath(p)) for p in (*model.beside, *([model.path] if model.path else [])))


def source_told(model: Model) -> dict[str, str]:
    """Return the name and the SHA-256 of the file that ``model`` was read from, as far as it is there."""
    if model.path is None:
        return {}
    try:
        with model.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # moved or removed since it was read
        return {"source": model.path.name}
    return {"source": model.path.name, "source_sha256": digest}


def check_written(model: Model) -> None:
    """Refuse a program that is not valid ONNX, types and shapes included.

    Raises
    ------
    ModelError
        Naming what the checker names; a fault of what emitted it.
    """
    whole = closed(model.proto, model.constants)
    for info in whole.graph.output:
        if info.type.HasField("tensor_type") and not _has_shape(info):
            whole.graph.output.remove(info)  # the checker wants a shape, which nothing knows
    del whole.opset_import[:]
    used = domains_of(model)
    whole.opset_import.extend(o for o in model.proto.opset_import if o.domain in used or not o.domain)
    try:
        onnx.checker.check_model(whole, full_check=not used - {""})
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ModelError(f"the file would not be valid ONNX: {error}") from None


def lies_beside(model: Model) -> bool:
    """Tell whether the weights go to a file of their own: they came from one, or are too large for one."""
    large = any(a.size > LARGE for a in model.constants.values())
    return (large and bool(model.beside)) or sum(a.nbytes for a in model.constants.values()) > LARGEST


def written(model: Model, *, beside: str | None = None) -> tuple[bytes, Sequence[NDArray[Any]]]:
    """Return the file's bytes, and the weights for the file ``beside``, if one is named.

    Raises
    ------
    ModelError
        The graph is too large for one protobuf.
    """
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    used = domains_of(model)
    del proto.opset_import[:]
    proto.opset_import.extend(o for o in model.proto.opset_import if o.domain in used or not o.domain)
    weights: list[NDArray[Any]] = []
    offset = 0
    for name, array in model.constants.items():
        if beside is None or array.size <= LARGE or array.dtype == object or array.dtype.name in PACKED:
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
            continue
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", beside), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        proto.graph.initializer.append(tensor)
        weights.append(array)
        offset += -(-array.nbytes // ALIGNED) * ALIGNED
    try:
        return proto.SerializeToString(deterministic=True), weights
    except ValueError as error:
        raise ModelError(f"the file would be larger than ONNX allows: {error}") from None


def write_weights(file: BinaryIO, weights: Sequence[NDArray[Any]]) -> None:
    """Write ``weights`` one after the other, each at the beginning of a page."""
    for array in weights:
        file.write(np.ascontiguousarray(array).tobytes())
        file.write(bytes(-file.tell() % ALIGNED))


def write_whole(file: BinaryIO, content: bytes) -> None:
    """Write ``content``."""
    file.write(content)
