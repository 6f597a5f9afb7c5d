"""Load: read a file from a stranger, raise it to a modern opset, fold, and type every tensor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TypeProto, ValueInfoProto, numpy_helper

from ..errors import ModelError
from ..graph.gaps import key_of
from ..graph.model import Model
from ..graph.rounding import settled
from ..graph.shapes import Dim, Shape
from .attention import ATTENTION
from .batching import apart, first_symbols, typed
from .bodies import written_out
from .canonical import canonical_nodes, legacy_nodes, resizes_of_before_11, without_chains
from .checking import check_extents, check_graph, check_text
from .computing import closed
from .contrib import claimed, standardized
from .detections import with_detections
from .foreign import foreign
from .functions import inlined
from .inference import BATCH
from .ordering import import_once, in_order
from .recurrent import RECURRENT
from .rewriting import rewritten
from .sampled import SAMPLED
from .sequences import without_sequences
from .unrolling import unrolled
from .weights import constant_node, files_beside, read_tensor

OPSET = 18
"""Oldest opset the emissions are written for; older files are raised to it."""

WRITTEN = {**ATTENTION, **RECURRENT, **SAMPLED}
"""Operators that are written in others as soon as every shape is known."""

LARGEST = 2**31
"""Bytes that a protobuf can hold."""

OLDEST_IR, NEWEST_IR = 8, 10
"""File format versions: opset 18 needs 8, and every supported runtime reads 10."""


def load(path: str | Path | ModelProto, *, shapes: Mapping[str, Shape] | None = None) -> Model:
    """Load an ONNX model for explanation.

    Parameters
    ----------
    path : path or ModelProto
        The file, of any opset from 7 on; external data must lie in the file's folder.
    shapes : mapping of str to shape, optional
        Sizes for dynamic dimensions, by input name; a free batch stays free where the graph fits any. A symbol names
        a dimension that stays free, and what the outputs have of it; numbers of two names are apart, and the batch,
        ``N``, is the pictures'.

    Raises
    ------
    ModelError
        Not an ONNX file, truncated, external data missing or outside the folder, or an opset that
        cannot be raised.
    """
    if isinstance(path, ModelProto):
        proto, file = ModelProto(), None
        proto.CopyFrom(path)
    else:
        if not isinstance(path, str | Path):
            raise ModelError(f"a model is a path, a ModelProto or what load() returned, not {type(path).__name__}")
        file = Path(path)
        proto = _read(file)
    check_text(proto)
    proto, constants, beside = _split(proto, file.parent if file else None)
    opset = next((o.version for o in proto.opset_import if not o.domain), 0)
    claimed(proto, opset)
    proto = standardized(_raised(proto, constants, opset), constants)
    model = Model(proto, constants, {}, file, beside, opset)
    return bind(model, shapes or {})


def bind(model: Model, shapes: Mapping[str, Shape]) -> Model:
    """Fix the dynamic dimensions given in ``shapes``, fold what is constant, and type every tensor.

    The first dimension of an input stays free when it is dynamic, unless the graph fits one batch only, which is said
    in ``notes``. Every input keeps its name.
    """
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    known = {i.name for i in proto.graph.input}
    for name in shapes:
        if name not in known:
            raise ModelError(f"the model has no input {name!r}; it has {', '.join(sorted(known))}")
    said = first_symbols(proto)
    named = {n: s[0] for n, s in shapes.items() if n in said and s and isinstance(s[0], str)}
    for info in proto.graph.input:
        if info.type.HasField("tensor_type"):
            _bind_input(info, shapes.get(info.name), fresh=not model.types)
    for info in proto.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    wanted = [s[0] for s in shapes.values() if s and isinstance(s[0], int)]
    proto = proto if model.types else apart(proto, model.constants, said | named, named=set(named.values()))
    proto, constants, types, note = typed(proto, model.constants, wanted=wanted)
    while (found := _plainer(proto, constants, types)) is not None:
        proto, constants, types, again = typed(*found, wanted=wanted)
        note = note or again
    check_extents(proto, types)
    for info in proto.graph.output:
        if info.name in types:
            info.type.CopyFrom(types[info.name])
    plain = canonical_nodes(proto.graph.node, types, outputs={o.name for o in proto.graph.output})
    nodes = settled(plain, types, constants, opset=model.opsets[""])
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    notes = (*model.notes, note) if note else model.notes
    bound = replace(model, proto=proto, constants=constants, types=types, notes=notes)
    return with_detections(rewritten(bound, WRITTEN) if any(key_of(n) in WRITTEN for n in nodes) else bound)


def _read(path: Path) -> ModelProto:
    """Parse ``path`` without its external data."""
    if os.path.exists(path) and (said := foreign(path)):
        raise ModelError(said)
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder; name the .onnx file in it")
    if not os.path.isfile(path):
        raise ModelError(f"{path}: {'not a regular file' if os.path.exists(path) else 'no such file'}")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ModelError(f"{path} is larger than 2 GB, which no ONNX file is: weights that large lie beside it")
        proto = onnx.load(path, load_external_data=False, format="protobuf")
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path} is not an ONNX file, or is truncated: {error}") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    if not proto.graph.node or not proto.opset_import:
        empty = "is empty" if size == 0 else "holds no graph"
        raise ModelError(f"{path} is not an ONNX model: it {empty}")
    return proto


def _split(proto: ModelProto, folder: Path | None) -> tuple[ModelProto, dict[str, NDArray[Any]], frozenset[Path]]:
    """Take every constant out of the graph: initializers (listed as inputs or not) and Constant nodes.

    The files are those that they lay in.
    """
    import_once(proto)
    proto = written_out(inlined(proto))
    graph = proto.graph
    if graph.sparse_initializer:
        raise ModelError("sparse initializers are not supported; export the model with dense weights")
    constants: dict[str, NDArray[Any]] = {}
    for tensor in graph.initializer:
        _add(constants, tensor.name, read_tensor(tensor, folder))
    nodes: list[NodeProto] = []
    for node in without_chains(graph.node, outputs={o.name for o in graph.output}):
        node.domain = "" if node.domain == "ai.onnx" else node.domain
        array = constant_node(node, folder)
        if array is not None:
            _add(constants, node.output[0], array)
        elif any(node.output):
            nodes.append(node)
    inputs = [i for i in graph.input if i.name not in constants]
    beside = files_beside(graph, folder)
    kept = ModelProto()
    kept.CopyFrom(_without_data(proto))
    once = {o.name: o for o in kept.graph.output}
    del kept.graph.output[:]
    kept.graph.output.extend(once.values())
    kept.graph.node.extend(in_order(nodes))
    kept.graph.input.extend(inputs)
    kept.ir_version = min(max(kept.ir_version, OLDEST_IR), NEWEST_IR)
    while (found := _plainer(kept, constants, {})) is not None:
        kept, constants = found
    return kept, constants, beside


def _plainer(
    proto: ModelProto, constants: dict[str, NDArray[Any]], types: dict[str, TypeProto]
) -> tuple[ModelProto, dict[str, NDArray[Any]]] | None:
    """Return the graph without loops and sequences whose lengths are known; None where there are none."""
    return unrolled(proto, constants, types) or without_sequences(proto, constants, types)


def _add(constants: dict[str, NDArray[Any]], name: str, array: NDArray[Any]) -> None:
    if name in constants:
        raise ModelError(f"tensor {name!r} is written twice: the graph is not valid ONNX")
    constants[name] = array


def _without_data(proto: ModelProto) -> ModelProto:
    """Return ``proto`` without nodes, inputs, initializers and stale type information."""
    graph = proto.graph
    for field in ("initializer", "node", "input", "quantization_annotation", "doc_string"):
        graph.ClearField(field)
    graph.ClearField("value_info")
    proto.ClearField("functions")
    proto.ClearField("training_info")
    return proto


def _raised(proto: ModelProto, constants: dict[str, NDArray[Any]], opset: int) -> ModelProto:
    """Return ``proto`` at opset 18 or newer."""
    newest = onnx.defs.onnx_opset_version()
    if not 0 < opset <= newest:
        known = f"the installed onnx {onnx.__version__} knows 1 to {newest}; upgrade onnx, or export an older one"
        raise ModelError(f"the model is written in opset {opset} of ai.onnx; {known}")
    nodes = legacy_nodes(proto.graph.node, constants)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    check_graph(proto, constants)
    if opset >= OPSET:
        return proto
    foreign = [o for o in proto.opset_import if o.domain]
    try:
        raised = onnx.version_converter.convert_version(closed(proto, constants), OPSET)
    except Exception as error:  # the converter raises RuntimeError, ValidationError and others
        raise ModelError(f"opset {opset} cannot be raised to {OPSET}: {error}") from None
    present = {o.domain for o in raised.opset_import}
    raised.opset_import.extend(o for o in foreign if o.domain not in present)
    opened = _opened(raised, constants)
    if opset < 11:
        nodes = resizes_of_before_11(opened.graph.node, constants)
        del opened.graph.node[:]
        opened.graph.node.extend(nodes)
    return opened


def _opened(closed: ModelProto, constants: dict[str, NDArray[Any]]) -> ModelProto:
    """Take the constants out again, those that the tool added included."""
    constants |= {t.name: numpy_helper.to_array(t) for t in closed.graph.initializer}
    nodes = []
    for node in closed.graph.node:
        array = constant_node(node, None)
        if array is None:
            nodes.append(node)
        else:
            constants[node.output[0]] = array
    inputs = [i for i in closed.graph.input if i.name not in constants]
    del closed.graph.node[:], closed.graph.input[:], closed.graph.initializer[:], closed.graph.value_info[:]
    closed.graph.node.extend(nodes)
    closed.graph.input.extend(inputs)
    return closed


def _bind_input(info: ValueInfoProto, shape: Shape | None, *, fresh: bool) -> None:
    """Write ``shape`` into the input's free dimensions; the first, when free, is the batch.

    Of a model that is typed already the first may be another number than the batch.
    """
    dims = info.type.tensor_type.shape.dim
    if shape is not None and len(shape) != len(dims):
        raise ModelError(f"input {info.name!r} has {len(dims)} dimensions, {list(shape)} has {len(shape)}")
    for i, dim in enumerate(dims):
        fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        wanted: Dim = shape[i] if shape is not None else None
        if fixed is not None and isinstance(wanted, int) and wanted != fixed:
            raise ModelError(f"input {info.name!r} has size {fixed} at dimension {i}, not {wanted}")
        if fixed is not None and isinstance(wanted, str):
            raise ModelError(f"input {info.name!r} has size {fixed} at dimension {i}, which is not free: no {wanted!r}")
        another = not fresh and dim.dim_param not in ("", BATCH)
        if fixed is None and isinstance(wanted, int) and (i > 0 or another):
            dim.dim_value = wanted
        elif fixed is None and i == 0 and len(dims) > 1 and not another:
            dim.dim_param = BATCH
        elif fixed is None:
            dim.dim_param = wanted or dim.dim_param or f"{info.name}_{i}"
