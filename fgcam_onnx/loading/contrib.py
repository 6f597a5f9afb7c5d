"""ONNX Runtime's own float operators, which its optimizer leaves in files, written in the standard's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from ..errors import ModelError, UnsupportedOperatorError
from ..graph.gaps import key_of
from ..graph.model import Model
from ..graph.subgraphs import nodes_inside
from ..graph.value import Array, Value
from .attention import FUSED_ATTENTION
from .inference import type_of
from .rewriting import Formulas, Results, given, rewritten

MS = "com.microsoft"
ONE_PROCESSOR = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
"""Domains of operators on rearranged memory, which fit the processor that the file was optimized on."""

SQUATTERS = {"LayerNormalization": 17, "SimplifiedLayerNormalization": 10**6}
"""Operators that ONNX Runtime keeps in ONNX's domain, and the opset in which ONNX defines them, if it does."""


def activated(x: Value, name: str, parameters: Sequence[float]) -> Value:
    """Apply an activation that was fused into another operator, its parameters in a list."""
    e = x.emitter
    if not name:
        return x
    if name == "Clip":
        low, high = e.lift(x, *parameters)[1:]
        return e.emit("Clip", x, low, high)
    named: dict[str, Any] = dict(zip(("alpha", "beta"), parameters, strict=False))
    return e.emit(name, x, **named)


def fused_conv(
    x: Value, w: Value, bias: Value | None = None, residual: Value | None = None,
    *, activation: str = "", activation_params: Sequence[float] = (), **window: Any,
) -> Value:  # fmt: skip
    """Return ``activation(Conv(x, w) + bias + residual)``."""
    y = x.emitter.emit("Conv", x, w, *given(bias), **window)
    return activated(y if residual is None else y + residual, activation, activation_params)


def fused_gemm(
    a: Value, b: Value, c: Value | None = None,
    *, activation: str = "", activation_alpha: float | None = None, activation_beta: float | None = None,
    activation_gamma: float | None = None, **product: Any,
) -> Value:  # fmt: skip
    """Return ``activation(Gemm(a, b, c))``."""
    y = a.emitter.emit("Gemm", a, b, *given(c), **product)
    return activated(y, activation, [p for p in (activation_alpha, activation_beta) if p is not None])


def fused_matmul(
    a: Value, b: Value,
    *, alpha: float = 1.0, transA: int = 0, transB: int = 0, transBatchA: int = 0, transBatchB: int = 0,
) -> Value:  # fmt: skip
    """Return ``alpha * a @ b``, each transposed first where asked for."""
    return _arranged(a, transA, transBatchA) @ _arranged(b, transB, transBatchB) * alpha


def _arranged(x: Value, swap: int, first_to_rows: int) -> Value:
    """Move the first axis to the rows' place, then swap rows and columns."""
    if not swap and not first_to_rows:
        return x
    axes = list(range(x.rank))
    if first_to_rows:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if swap and x.rank > 1:
        axes = [*axes[:-2], axes[-1], axes[-2]]
    return x.transpose(axes)


def gelu(x: Value) -> Array:
    """Return ``x Φ(x)`` (Hendrycks & Gimpel, 2016, arXiv:1606.08415)."""
    return x * 0.5 * (x.emitter.emit("Erf", x * np.sqrt(0.5)) + 1)


def bias_gelu(x: Value, bias: Value) -> Array:
    """Return ``gelu(x + bias)``."""
    return gelu(x + bias)


def fast_gelu(x: Value, bias: Value | None = None) -> Array:
    """Return the tanh approximation of ``gelu(x + bias)``."""
    x = x if bias is None else x + bias
    return x * 0.5 * (np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * (x * x * x))) + 1)


def quick_gelu(x: Value, *, alpha: float = 1.702) -> Value:
    """Return ``x sigmoid(alpha x)``."""
    return x * x.emitter.emit("Sigmoid", x * alpha)


def layer_normalization(x: Value, scale: Value, bias: Value | None = None, **attrs: Any) -> Results:
    """Return what ONNX's operator of this name does."""
    return x.emitter.emit_many("LayerNormalization", x, scale, *given(bias), count=3, **attrs)


def simplified_layer_normalization(
    x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Value, Value]:
    """Return ``x / rms(x) * scale`` and ``1 / rms(x)``, the root mean square over the axes from ``axis`` on."""
    wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    axes = [-1] if axis == -1 else list(range(axis % x.rank, x.rank))
    inverse: Array = 1 / np.sqrt((wide * wide).mean(axes, keepdims=True) + epsilon)
    return (wide * inverse).astype(scale.dtype) * scale, inverse


def skip_layer_normalization(
    x: Value,
    skip: Value,
    scale: Value,
    shift: Value | None = None,
    bias: Value | None = None,
    *,
    epsilon: float = 1e-12,
) -> Results:
    """Return the normalized sum, its statistics, and the sum ``x + skip + bias`` itself."""
    total = x + skip if bias is None else x + skip + bias
    y, mean, inverse = total.emitter.emit_many(
        "LayerNormalization", total, scale, *given(shift), count=3, epsilon=epsilon
    )
    return y, mean, inverse, total


def skip_simplified_layer_normalization(
    x: Value, skip: Value, scale: Value, bias: Value | None = None, *, epsilon: float = 1e-12
) -> Results:
    """Return the sum over its root mean square, no mean, one over that, and the sum itself."""
    total = x + skip if bias is None else x + skip + bias
    found = simplified_layer_normalization(total, scale, epsilon=epsilon)
    return found[0], None, found[1], total


def dynamic_quantize_matmul(
    a: Value, b: Value, b_scale: Value, b_zero: Value | None = None, bias: Value | None = None
) -> Value:
    """Quantize ``a`` by its range, and multiply integers."""
    q, scale, zero = a.emitter.emit_many("DynamicQuantizeLinear", a, count=3)
    return matmul_integer_to_float(q, b, scale, b_scale, zero, b_zero, bias)


def matmul_integer_to_float(
    a: Value, b: Value, a_scale: Value, b_scale: Value,
    a_zero: Value | None = None, b_zero: Value | None = None, bias: Value | None = None,
) -> Value:  # fmt: skip
    """Multiply integers, and return real values."""
    y = a.emitter.emit("MatMulInteger", a, b, *given(a_zero, b_zero)).astype(np.float32) * (a_scale * b_scale)
    return y if bias is None else y + bias


def matmul_nbits(
    a: Value, b: Value, scales: Value, zeros: Value | None = None, groups: Value | None = None,
    bias: Value | None = None,
    *, K: int, N: int, bits: int = 4, block_size: int, accuracy_level: int = 0,
) -> Value:  # fmt: skip
    """Return ``a @ w + bias`` of weights of a few bits, which are written out as floats."""
    if (
        groups is not None
        or any(v is not None and v.constant is None for v in (b, scales, zeros))
        or bits not in (4, 8)
    ):
        raise UnsupportedOperatorError("weights that are computed, regrouped or of other than 4 or 8 bits")
    packed, scale = np.asarray(b.constant).reshape(N, -1), np.asarray(scales.constant).reshape(N, -1, 1)
    blocks = scale.shape[1]
    q = _unpacked(packed, bits).reshape(N, blocks, block_size).astype(np.float32)
    zero: NDArray[Any] = np.full((N, blocks, 1), 2.0 ** (bits - 1), np.float32)
    if zeros is not None and zeros.constant is not None:
        given_ = zeros.constant.reshape(N, -1)
        zero = (_unpacked(given_, bits) if given_.dtype == np.uint8 else given_)[:, :blocks, None]
    w = ((q - zero) * scale).reshape(N, -1)[:, :K].T.astype(a.dtype)
    y = a @ a.emitter.constant(np.ascontiguousarray(w))
    return y if bias is None else y + bias


def _unpacked(packed: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return the numbers of ``bits`` bits in bytes, the lowest first."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)


CONTRIB: Formulas = {
    **FUSED_ATTENTION,
    f"{MS}.BiasGelu": bias_gelu,
    f"{MS}.DynamicQuantizeMatMul": dynamic_quantize_matmul,
    f"{MS}.FastGelu": fast_gelu,
    f"{MS}.FusedConv": fused_conv,
    f"{MS}.FusedGemm": fused_gemm,
    f"{MS}.FusedMatMul": fused_matmul,
    f"{MS}.Gelu": gelu,
    f"{MS}.LayerNormalization": layer_normalization,
    f"{MS}.MatMulIntegerToFloat": matmul_integer_to_float,
    f"{MS}.MatMulNBits": matmul_nbits,
    f"{MS}.QuickGelu": quick_gelu,
    f"{MS}.SimplifiedLayerNormalization": simplified_layer_normalization,
    f"{MS}.SkipLayerNormalization": skip_layer_normalization,
    f"{MS}.SkipSimplifiedLayerNormalization": skip_simplified_layer_normalization,
}


def claimed(proto: ModelProto, opset: int) -> None:
    """Give the operators that ONNX Runtime keeps in ONNX's domain their own, and refuse what fits one processor.

    Raises
    ------
    ModelError
        An operator works on rearranged memory.
    """
    moved = False
    for node in proto.graph.node:
        if node.domain in ONE_PROCESSOR:
            raise ModelError(
                f"the file was optimized by ONNX Runtime for one processor: '{node.domain}.{node.op_type}' "
                f"(node {node.name!r}) is no standard operator. Explain the file it was made from, or optimize "
                "that with ORT_ENABLE_EXTENDED."
            )
        if not node.domain and opset < SQUATTERS.get(node.op_type, 0):
            node.domain, moved = MS, True
    if moved and MS not in {o.domain for o in proto.opset_import}:
        proto.opset_import.append(helper.make_opsetid(MS, 1))


def standardized(proto: ModelProto, constants: dict[str, NDArray[Any]]) -> ModelProto:
    """Return ``proto``, of opset 18 or newer, with the operators in ``CONTRIB`` written in standard ones.

    ``constants`` gets what they need. A node of whose inputs too little is known stays as it is.
    """
    if any(key_of(n) in CONTRIB for n in proto.graph.node):
        types = {n: type_of(a) for n, a in constants.items()} | {i.name: i.type for i in proto.graph.input}
        written = rewritten(Model(proto, constants, types), CONTRIB)
        proto = written.proto
        constants |= written.constants
    used = {n.domain for n in nodes_inside(proto.graph.node)} | {""}
    kept = [o for o in proto.opset_import if o.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    return proto
