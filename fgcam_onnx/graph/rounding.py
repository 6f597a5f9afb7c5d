"""Sizes that onnx's inference rounds otherwise than the runtime.

Inference multiplies sizes by scales in float64, runtimes in float32: ten elements by 0.7 are six for it, and seven for
them. For pools it counts windows that begin behind the last element, and other padding with ``auto_pad`` and dilations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from ..errors import ModelError
from .shapes import Shape

POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
SIZED = POOLS | {"ConvTranspose", "Resize"}
"""Operators whose size the runtime computes in a way of its own."""

AUTO_PAD = (b"NOTSET", b"SAME_UPPER", b"SAME_LOWER", b"VALID")

Types = Mapping[str, TypeProto]
Constants = Mapping[str, NDArray[Any]]


def runtime_shape(node: NodeProto, types: Types, constants: Constants) -> Shape | None:
    """Return the shape that the runtime gives the output of ``node``, None for a free dimension.

    None where inference is to be believed, or to refuse the node, or the shape of the input is not known.
    """
    if node.op_type not in SIZED or node.domain or not all(_ranked(types.get(i)) for i in node.input[:1]):
        return None
    shape = _dims(types[node.input[0]])
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type != "Resize" and not _fits(len(shape) - 2, **attrs):
        return None
    if node.op_type in POOLS:
        return (*shape[:2], *_pooled(shape[2:], **attrs))
    if node.op_type == "ConvTranspose":
        w = types.get(node.input[1])
        if w is None or not _ranked(w) or len(_dims(w)) != len(shape):
            return None
        return (shape[0], *_deconvolved(shape[2:], _dims(w), **attrs))
    scales, sizes = ([*node.input, "", "", ""][i] for i in (2, 3))
    if sizes in constants:
        return _kept_in_ratio(shape, constants[sizes].ravel(), **attrs)
    if scales not in constants or constants[scales].size != len(attrs.get("axes", shape)):
        return None
    return _scaled(shape, constants[scales].ravel(), **attrs)


def _fits(n: int, **attrs: Any) -> bool:
    """Tell whether a window's lists are of ``n`` axes, its steps positive and ``auto_pad`` a word of the standard."""
    each = ("dilations", "kernel_shape", "output_padding", "strides")
    lists = [*((attrs.get(name), n) for name in each), (attrs.get("pads"), 2 * n)]
    steps = [s for name in ("dilations", "strides") for s in attrs.get(name, ())]
    known = attrs.get("auto_pad", AUTO_PAD[0]) in AUTO_PAD
    return known and all(given is None or len(given) == count for given, count in lists) and all(s > 0 for s in steps)


def _scaled(shape: Shape, scales: NDArray[Any], *, axes: Sequence[int] | None = None, **_: Any) -> Shape:
    """Return the sizes of a Resize by scales: products in float32, rounded down."""
    over = [a % len(shape) for a in axes] if axes is not None else range(len(shape))
    factors = {a: s for a, s in zip(over, scales.astype(np.float32), strict=True) if s != 1}
    return tuple(
        d if a not in factors else int(np.float32(d) * factors[a]) if isinstance(d, int) else None
        for a, d in enumerate(shape)
    )


def _kept_in_ratio(
    shape: Shape,
    sizes: NDArray[Any],
    *,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: bytes = b"stretch",
    **_: Any,
) -> Shape | None:
    """Return the sizes of a Resize whose axes share one scale; ONNX Runtime leaves out axes that count from the end."""
    if keep_aspect_ratio_policy == b"stretch":
        return None
    named = range(len(shape)) if axes is None else axes
    over = {a: int(n) for a, n in zip(named, sizes, strict=True) if a >= 0}
    found = {a: d for a in over if isinstance(d := shape[a], int)}
    if len(found) < len(over):
        return None
    choose = min if keep_aspect_ratio_policy == b"not_larger" else max
    scale = choose((np.float32(n) / np.float32(found[a]) for a, n in over.items()), default=np.float32(1))
    return tuple(math.floor(float(scale * np.float32(d)) + 0.5) if a in found else d for a, d in enumerate(shape))


def _deconvolved(
    space: Shape,
    kernel: Shape,
    *,
    auto_pad: bytes = b"NOTSET",
    dilations: Sequence[int] = (),
    group: int = 1,
    output_padding: Sequence[int] = (),
    output_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
    **_: Any,
) -> Shape:
    """Return channels and sizes of a transposed convolution."""
    n = len(space)
    made = [kernel[1] * group if isinstance(kernel[1], int) else None]
    sizes: list[int | None] = []
    for a, (size, k) in enumerate(zip(space, kernel[2:], strict=True)):
        if not isinstance(size, int) or not isinstance(k, int):
            sizes.append(None)
            continue
        step = strides[a] if strides else 1
        full = (size - 1) * step + (k - 1) * (dilations[a] if dilations else 1) + 1
        full += output_padding[a] if output_padding else 0
        if output_shape:
            sizes.append(output_shape[a - n])
        elif auto_pad.startswith(b"SAME"):
            sizes.append(min(full, size * step))
        else:
            sizes.append(full - (pads[a] + pads[n + a] if pads and auto_pad == b"NOTSET" else 0))
    return (*made, *sizes)


def _pooled(space: Shape, *, kernel_shape: list[int], **attrs: Any) -> Shape:
    """Return how many windows fit: a quotient rounded towards 0, and at least half a window inside the input."""
    n = len(kernel_shape)
    stride, dilation = attrs.get("strides") or [1] * n, attrs.get("dilations") or [1] * n
    pads, auto = attrs.get("pads") or [0] * 2 * n, attrs.get("auto_pad", b"NOTSET").decode()
    sizes: list[int | None] = []
    for a, (size, kernel, step) in enumerate(zip(space, kernel_shape, stride, strict=True)):
        if not isinstance(size, int):
            sizes.append(None)
            continue
        before, after = pool_padding(size, kernel=kernel, stride=step, pads=(pads[a], pads[n + a]), auto_pad=auto)
        quotient = np.float32(size + before + after - dilation[a] * (kernel - 1) - 1) / np.float32(step)
        count = int(math.ceil(quotient) if attrs.get("ceil_mode") else quotient) + 1
        sizes.append(count - (attrs.get("ceil_mode", 0) and (count - 1) * step >= size + before))
    return tuple(sizes)


def pool_padding(
    size: int, *, kernel: int, stride: int, pads: tuple[int, int], auto_pad: str = "NOTSET"
) -> tuple[int, int]:
    """Return how many elements the runtime pads an axis of a pool by; dilations do not count in it."""
    if not auto_pad.startswith("SAME"):
        return pads if auto_pad == "NOTSET" else (0, 0)
    both = (-(-size // stride) - 1) * stride + kernel - size
    before = int((both if auto_pad == "SAME_UPPER" else both + 1) / 2)
    return before, both - before


def corrected(node: NodeProto, found: dict[str, TypeProto], types: Types, constants: Constants) -> dict[str, TypeProto]:
    """Return the types ``found`` of a node's outputs with the sizes that the runtime makes."""
    shape = runtime_shape(node, types, constants)
    if shape is None or None in shape:
        return found
    return {n: helper.make_tensor_type_proto(t.tensor_type.elem_type, shape) for n, t in found.items()}


def with_sizes(proto: ModelProto, types: Mapping[str, TypeProto]) -> ModelProto | None:
    """Return ``proto`` with the sizes written down that the runtime makes where inference first found others.

    None where there is no such node. What stands there is a Resize by sizes, whatever it was: it is for inference
    alone. Axes of unknown size keep the size they have.
    """
    arrays = {t.name: t for t in proto.graph.initializer}
    for place, node in enumerate(proto.graph.node):
        if node.op_type not in SIZED:
            continue
        known = {i: numpy_helper.to_array(arrays[i]) for i in node.input[2:4] if i in arrays}
        y, shape = types.get(node.output[0]), runtime_shape(node, types, known)
        if shape is None or y is None or not _ranked(y) or not _differ(_dims(y), shape):
            continue
        sizes = {a: d for a, d in enumerate(shape) if isinstance(d, int)}
        if max(sizes.values(), default=0) > np.iinfo(np.int64).max:
            raise ModelError(f"{node.op_type} (node {node.name!r}) would make {list(shape)} elements")
        changed = ModelProto()
        changed.CopyFrom(proto)
        name = f"{node.output[0]}/sizes"
        changed.graph.initializer.append(numpy_helper.from_array(np.array([*sizes.values()], np.int64), name))
        written = [helper.make_node("Resize", [node.input[0], "", "", name], node.output[:1], axes=[*sizes])]
        if len(node.output) > 1 and node.output[1]:
            written.append(helper.make_node("Cast", node.output[:1], node.output[1:], to=TensorProto.INT64))
        others = list(proto.graph.node)
        del changed.graph.node[:]
        changed.graph.node.extend([*others[:place], *written, *others[place + 1 :]])
        return changed
    return None


def settled(
    nodes: Iterable[NodeProto], types: dict[str, TypeProto], constants: dict[str, NDArray[Any]], *, opset: int
) -> list[NodeProto]:
    """Return ``nodes`` with a Reshape behind each whose size a runtime, too, infers wrongly while it loads a graph.

    It would refuse what is appended in the size that it then makes. ``types`` and ``constants`` get what is added.
    """
    result: list[NodeProto] = []
    for node in nodes:
        right = types.get(node.output[0]) if node.op_type in SIZED else None
        if right is None or not _ranked(right) or not _differ(_alone(node, types, constants, opset), _dims(right)):
            result.append(node)
            continue
        name = node.output[0]
        raw, sizes = f"{name}/unsettled", f"{name}/sizes"
        constants[sizes] = np.array([d if isinstance(d, int) else 0 for d in _dims(right)], np.int64)
        types[raw] = right
        types[sizes] = helper.make_tensor_type_proto(TensorProto.INT64, [len(_dims(right))])
        first = NodeProto()
        first.CopyFrom(node)
        first.output[0] = raw
        result += [first, helper.make_node("Reshape", [raw, sizes], [name], name=f"{node.name or name}/settled")]
    return result


def _differ(found: Shape | None, right: Shape) -> bool:
    return found is not None and (
        len(found) != len(right)
        or any(a != b for a, b in zip(found, right, strict=True) if isinstance(a, int) and isinstance(b, int))
    )


def _alone(
    node: NodeProto, types: Mapping[str, TypeProto], constants: Mapping[str, NDArray[Any]], opset: int
) -> Shape | None:
    """Return the shape that onnx infers of ``node``; None where it infers none."""
    inputs = {i: types[i] for i in node.input if i in types}
    data = {i: numpy_helper.from_array(constants[i], i) for i in node.input if i in constants}
    schema = onnx.defs.get_schema(node.op_type, opset)
    try:
        found = onnx.shape_inference.infer_node_outputs(schema, node, inputs, data)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
        return None
    kind = found.get(node.output[0])
    return _dims(kind) if kind is not None and _ranked(kind) else None


def _ranked(kind: TypeProto | None) -> bool:
    return kind is not None and bool(kind.tensor_type.HasField("shape"))


def _dims(kind: TypeProto) -> Shape:
    return tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.tensor_type.shape.dim)
