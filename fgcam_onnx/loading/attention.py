"""Attention as one operator, of the standard and of ONNX Runtime, written out by products, scale, mask and Softmax."""

from __future__ import annotations

import math

import numpy as np
from onnx import helper

from ..errors import UnsupportedOperatorError
from ..graph.value import Array, Value
from .rewriting import Formulas, Results, given

MS = "com.microsoft"


def weighed(
    q: Value, k: Value, v: Value, *, scale: float, mask: Value | None = None, softcap: float = 0.0,
    precision: int | None = None,
) -> Value:  # fmt: skip
    """Return ``Softmax(scale q k' + mask) v`` of (N, heads, tokens, size); 0 where a row of the mask leaves nothing."""
    logits: Array = (q @ k.transpose([0, 1, 3, 2])) * scale
    if softcap:
        logits = np.tanh(logits / softcap) * softcap
    if mask is not None:
        logits = logits + (mask if mask.dtype.kind == "f" else _penalty(mask, logits))
    dtype = logits.dtype if precision is None else helper.tensor_dtype_to_np_dtype(precision)
    weights: Value = q.emitter.emit("Softmax", logits.astype(dtype), axis=-1)
    if mask is not None and _may_leave_nothing(mask):
        weights = q.emitter.where(q.emitter.emit("IsNaN", weights), 0, weights)
    return weights.astype(v.dtype) @ v


def _penalty(mask: Value, like: Value) -> Value:
    zero, least = like.emitter.lift(like, 0, -np.inf)[1:]
    return like.emitter.where(mask, zero, least)


def _may_leave_nothing(mask: Value) -> bool:
    known = mask.constant
    if known is None:
        return True
    kept = known if known.dtype.kind == "b" else np.isfinite(known)
    return not bool(kept.any(-1).all())


def _heads(x: Value, count: int) -> Value:
    """Return (N, heads, tokens, size) of (N, tokens, heads * size)."""
    size = x.shape[2]
    if not isinstance(size, int) or size % count:
        raise UnsupportedOperatorError(f"{size} channels are not shared out among {count} heads")
    return x.emitter.emit("Reshape", x, x.emitter.ints([0, 0, count, size // count])).transpose([0, 2, 1, 3])


def _rows(x: Value) -> Value:
    """Return (N, tokens, heads * size) of (N, heads, tokens, size)."""
    heads, size = x.shape[1], x.shape[3]
    if not isinstance(heads, int) or not isinstance(size, int):
        raise UnsupportedOperatorError("the number of heads, or their size, is not known")
    return x.emitter.emit("Reshape", x.transpose([0, 2, 1, 3]), x.emitter.ints([0, 0, heads * size]))


def _size(x: Value) -> int:
    size = x.shape[-1]
    if not isinstance(size, int):
        raise UnsupportedOperatorError("the size of attention's heads is not known")
    return size


def _shared(x: Value, heads: int) -> Value:
    """Repeat the heads of keys or values for several of the queries'."""
    own = x.shape[1]
    if own == heads:
        return x
    if not isinstance(own, int) or heads % own:
        raise UnsupportedOperatorError(f"{own} heads are not shared by {heads}")
    return x.emitter.emit("Gather", x, x.emitter.ints(np.arange(own).repeat(heads // own).tolist()), axis=1)


def _causal(q: Value, k: Value, mask: Value | None) -> Value:
    """Return ``mask`` without the tokens that come later; the last ones are the queries'."""
    rows, columns = q.shape[2], k.shape[2]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise UnsupportedOperatorError("causal attention needs to know how many tokens there are")
    seen = np.tri(rows, columns, columns - rows if columns > rows else 0, dtype=np.bool_)
    if mask is None:
        return q.emitter.constant(seen)
    if mask.dtype.kind == "b":
        return q.emitter.emit("And", mask, q.emitter.constant(seen))
    return mask + q.emitter.constant(np.where(seen, 0, -np.inf).astype(mask.dtype))


def _padded(mask: Value, k: Value) -> Value:
    """Return ``mask`` of all tokens; those behind its end are not seen."""
    own, wanted = mask.shape[-1], k.shape[2]
    if own == wanted or not isinstance(own, int) or not isinstance(wanted, int):
        return mask
    e, ends = mask.emitter, [*[0] * (2 * mask.rank - 1), wanted - own]
    nothing = e.constant(np.asarray(False if mask.dtype.kind == "b" else -np.inf, mask.dtype))
    return e.emit("Pad", mask, e.ints(ends), nothing)


def attention(
    q: Value, k: Value, v: Value, mask: Value | None = None, past_key: Value | None = None,
    past_value: Value | None = None, nonpad: Value | None = None,
    *, is_causal: int = 0, kv_num_heads: int = 0, q_num_heads: int = 0, qk_matmul_output_mode: int = 0,
    scale: float | None = None, softcap: float = 0.0, softmax_precision: int | None = None,
    left_window_size: int = -1, right_window_size: int = -1,
) -> Results:  # fmt: skip
    """Return what ONNX's Attention does, and keys and values with those of the past."""
    if left_window_size >= 0 or right_window_size >= 0:
        raise UnsupportedOperatorError("attention in a sliding window is not written out")
    if nonpad is not None:
        raise UnsupportedOperatorError("a number of tokens for each image is not written out")
    flat = q.rank == 3
    if flat:
        q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    e, heads = q.emitter, q.shape[1]
    if not isinstance(heads, int):
        raise UnsupportedOperatorError("the number of heads is not known")
    k = k if past_key is None else e.emit("Concat", past_key, k, axis=2)
    v = v if past_value is None else e.emit("Concat", past_value, v, axis=2)
    mask = None if mask is None else _padded(mask, k)
    mask = _causal(q, k, mask) if is_causal else mask
    scale = 1 / math.sqrt(_size(q)) if scale is None else scale
    y = weighed(
        q, _shared(k, heads), _shared(v, heads), scale=scale, mask=mask, softcap=softcap, precision=softmax_precision
    )
    return (_rows(y) if flat else y), k, v


def projected_attention(
    x: Value, w: Value, bias: Value | None = None, mask: Value | None = None, past: Value | None = None,
    extra: Value | None = None, past_length: Value | None = None,
    *, num_heads: int, do_rotary: int = 0, mask_filter_value: float = -10000.0,
    qkv_hidden_sizes: list[int] | None = None,
    past_present_share_buffer: int = 0, rotary_embedding_dim: int = 0, scale: float = 0.0, unidirectional: int = 0,
) -> Results:  # fmt: skip
    """Return ONNX Runtime's Attention: queries, keys and values are one product with ``x`` (N, tokens, channels)."""
    if past is not None or past_length is not None or do_rotary:
        raise UnsupportedOperatorError("attention with a past, or turned by places, is not written out")
    total = x @ w if bias is None else x @ w + bias
    return _of_projected(
        total, mask, extra, num_heads=num_heads, mask_filter_value=mask_filter_value, sizes=qkv_hidden_sizes,
        scale=scale, unidirectional=unidirectional,
    )  # fmt: skip


def quantized_attention(
    x: Value, w: Value, bias: Value, x_scale: Value, w_scale: Value, mask: Value | None = None,
    x_zero: Value | None = None, w_zero: Value | None = None, past: Value | None = None,
    *, num_heads: int, do_rotary: int = 0, mask_filter_value: float = -10000.0, past_present_share_buffer: int = 0,
    scale: float = 0.0, unidirectional: int = 0,
) -> Results:  # fmt: skip
    """Return ONNX Runtime's QAttention: the same, whose product is one of integers."""
    if past is not None or do_rotary:
        raise UnsupportedOperatorError("attention with a past, or turned by places, is not written out")
    total = (
        x.emitter.emit("MatMulInteger", x, w, *given(x_zero, w_zero)).astype(np.float32) * (x_scale * w_scale) + bias
    )
    return _of_projected(
        total, mask, None, num_heads=num_heads, mask_filter_value=mask_filter_value, sizes=None, scale=scale,
        unidirectional=unidirectional,
    )  # fmt: skip


def _of_projected(
    total: Value, mask: Value | None, extra: Value | None,
    *, num_heads: int, mask_filter_value: float, sizes: list[int] | None, scale: float, unidirectional: int,
) -> Results:  # fmt: skip
    width = total.shape[2]
    if sizes is None and not isinstance(width, int):
        raise UnsupportedOperatorError("the number of channels is not known")
    parts = sizes or ([width // 3] * 3 if isinstance(width, int) else [])
    q, k, v = (
        _heads(part, num_heads)
        for part in total.emitter.emit_many("Split", total, total.emitter.ints(parts), axis=-1, count=3)
    )
    return _of_heads(q, k, v, _kept(mask, q, mask_filter_value), extra, scale=scale, unidirectional=unidirectional)


def _kept(mask: Value | None, like: Value, filter_value: float) -> Value | None:
    """Return what is added to the logits for a mask of 1 for tokens that count: (N, tokens) or (N, queries, tokens)."""
    if mask is None:
        return None
    if mask.rank not in (2, 3):
        raise UnsupportedOperatorError(f"a mask of shape {list(mask.shape)} is not written out")
    off = (1 - mask.astype(like.dtype)) * filter_value
    return off.emitter.emit("Unsqueeze", off, off.emitter.ints([1, 2] if mask.rank == 2 else [1]))


def _of_heads(
    q: Value, k: Value, v: Value, mask: Value | None, extra: Value | None, *, scale: float, unidirectional: int
) -> Results:
    if extra is not None:
        mask = extra if mask is None else mask + extra
    if unidirectional:
        mask = _causal(q, k, mask)
    return _rows(weighed(q, k, v, scale=scale or 1 / math.sqrt(_size(q)), mask=mask))


def multi_head_attention(
    q: Value, k: Value | None = None, v: Value | None = None, bias: Value | None = None, mask: Value | None = None,
    extra: Value | None = None, past_key: Value | None = None, past_value: Value | None = None,
    past_length: Value | None = None, cache: Value | None = None,
    *, num_heads: int, mask_filter_value: float = -10000.0, scale: float = 0.0, unidirectional: int = 0,
) -> Results:  # fmt: skip
    """Return ONNX Runtime's MultiHeadAttention: queries, keys and values apart, or packed by heads."""
    if past_key is not None or past_value is not None or past_length is not None or cache is not None:
        raise UnsupportedOperatorError("attention with a past is not written out")
    if q.rank == 5 and k is None:
        q, k, v = _unpacked(q, 3)
    elif k is not None and k.rank == 5 and v is None:
        k, v = _unpacked(k, 2)
    if k is None or v is None:
        raise UnsupportedOperatorError("attention lacks its keys or values")
    added = _split_bias(bias, (_width(q), _width(k), _width(v)))
    (q, k, v) = (x if b is None else x + b for x, b in zip((q, k, v), added, strict=True))
    q, k, v = (x if x.rank == 4 else _heads(x, num_heads) for x in (q, k, v))
    return _of_heads(q, k, v, _kept(mask, q, mask_filter_value), extra, scale=scale, unidirectional=unidirectional)


def _width(x: Value) -> int:
    """Return how many channels all heads have."""
    sizes = [x.shape[1], x.shape[3]] if x.rank == 4 else [x.shape[2]]
    return math.prod(s for s in sizes if isinstance(s, int))


def _split_bias(bias: Value | None, sizes: tuple[int, int, int]) -> tuple[Value | None, ...]:
    if bias is None:
        return None, None, None
    return bias.emitter.emit_many("Split", bias, bias.emitter.ints(sizes), axis=0, count=3)


def _unpacked(x: Value, count: int) -> tuple[Value, ...]:
    """Return (N, heads, tokens, size) each of (N, tokens, heads, count, size)."""
    e = x.emitter
    return tuple(
        e.emit("Squeeze", part, e.ints([3])).transpose([0, 2, 1, 3])
        for part in e.emit_many("Split", x, e.ints([1] * count), axis=3, count=count)
    )


ATTENTION: Formulas = {"Attention": attention}
"""Written out where every shape is known."""

FUSED_ATTENTION: Formulas = {
    f"{MS}.Attention": projected_attention,
    f"{MS}.MultiHeadAttention": multi_head_attention,
    f"{MS}.QAttention": quantized_attention,
}
