"""A small vision transformer as a graph, and again in NumPy and float64 with its attention open to changes."""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np
from nets import model_of, node
from numpy.typing import NDArray

Array = NDArray[Any]
SIDE, PATCH, WIDTH, HEADS, CLASSES = 8, 2, 8, 2, 3
GRID = SIDE // PATCH


def weights(*, prefix: int, layers: int = 2, seed: int = 0) -> dict[str, Array]:
    """Draw the weights of a small vision transformer; ``prefix`` tokens stand before the patches."""
    rng = np.random.default_rng(seed)
    tokens = GRID * GRID + prefix

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    made: dict[str, Array] = {
        "patch": normal(WIDTH, 3, PATCH, PATCH, scale=0.4), "patch_b": normal(WIDTH, scale=0.2),
        "class": normal(1, max(1, prefix), WIDTH), "places": normal(1, tokens, WIDTH, scale=0.5),
        "head": normal(WIDTH, CLASSES), "head_b": normal(CLASSES, scale=0.1),
    }  # fmt: skip
    for i in range(layers):
        for name in "qkvo":
            made[f"{name}{i}"] = normal(WIDTH, WIDTH, scale=0.5)
            made[f"{name}_b{i}"] = normal(WIDTH, scale=0.1)
        made[f"up{i}"], made[f"down{i}"] = normal(WIDTH, 12, scale=0.4), normal(12, WIDTH, scale=0.4)
        for name in ("g", "h"):
            made[f"{name}{i}"], made[f"{name}_b{i}"] = 1 + normal(WIDTH, scale=0.2), normal(WIDTH, scale=0.2)
    return made


def transformer(*, prefix: int = 1, pooled: bool = False, layers: int = 2) -> Any:
    """Write the transformer as exporters do: patches, tokens, attention by heads, LayerNormalization, GELU."""
    w = weights(prefix=prefix, layers=layers)
    ints = {
        "flat": [0, WIDTH, -1], "split": [0, 0, HEADS, WIDTH // HEADS], "join": [0, 0, WIDTH],
        "first": 0, "axis1": [1], "batch": [0],
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "patch", "patch_b"], "conv", strides=[PATCH] * 2, kernel_shape=[PATCH] * 2),
        node("Reshape", ["conv", "flat"], "rows"),
        node("Transpose", ["rows"], "t", perm=[0, 2, 1]),
    ]
    x = "t"
    if prefix:
        nodes += [
            node("Shape", ["x"], "shape", start=0, end=1),
            node("Concat", ["shape", "rest"], "many", axis=0),
            node("Expand", ["class", "many"], "classes"),
            node("Concat", ["classes", "t"], "joined", axis=1),
        ]
        ints["rest"] = [prefix, WIDTH]
        x = "joined"
    nodes.append(node("Add", [x, "places"], "e"))
    x = "e"
    for i in range(layers):
        nodes.append(node("LayerNormalization", [x, f"g{i}", f"g_b{i}"], f"n{i}", axis=-1))
        for name in "qkv":
            nodes += [
                node("MatMul", [f"n{i}", f"{name}{i}"], f"{name}m{i}"),
                node("Add", [f"{name}m{i}", f"{name}_b{i}"], f"{name}a{i}"),
                node("Reshape", [f"{name}a{i}", "split"], f"{name}r{i}"),
                node("Transpose", [f"{name}r{i}"], f"{name}h{i}", perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]),
            ]
        nodes += [
            node("MatMul", [f"qh{i}", f"kh{i}"], f"s{i}"),
            node("Mul", [f"s{i}", "scale"], f"ss{i}"),
            node("Softmax", [f"ss{i}"], f"A{i}", axis=-1),
            node("MatMul", [f"A{i}", f"vh{i}"], f"av{i}"),
            node("Transpose", [f"av{i}"], f"at{i}", perm=[0, 2, 1, 3]),
            node("Reshape", [f"at{i}", "join"], f"ar{i}"),
            node("MatMul", [f"ar{i}", f"o{i}"], f"om{i}"),
            node("Add", [f"om{i}", f"o_b{i}"], f"oa{i}"),
            node("Add", [x, f"oa{i}"], f"r{i}"),
            node("LayerNormalization", [f"r{i}", f"h{i}", f"h_b{i}"], f"m{i}", axis=-1),
            node("MatMul", [f"m{i}", f"up{i}"], f"u{i}"),
            node("Div", [f"u{i}", "root2"], f"ud{i}"),
            node("Erf", [f"ud{i}"], f"ue{i}"),
            node("Add", [f"ue{i}", "one"], f"u1{i}"),
            node("Mul", [f"u{i}", f"u1{i}"], f"uu{i}"),
            node("Mul", [f"uu{i}", "half"], f"ug{i}"),
            node("MatMul", [f"ug{i}", f"down{i}"], f"d{i}"),
            node("Add", [f"r{i}", f"d{i}"], f"x{i}"),
        ]
        x = f"x{i}"
    nodes.append(
        node("ReduceMean", [x, "axis1"], "f", keepdims=0) if pooled else node("Gather", [x, "first"], "f", axis=1)
    )
    nodes.append(node("Gemm", ["f", "head", "head_b"], "logits"))
    numbers = {"scale": (WIDTH / HEADS) ** -0.5, "root2": 2**0.5, "one": 1.0, "half": 0.5}
    every = {
        **w,
        **{n: np.array(v, np.int64) for n, v in ints.items()},
        **{n: np.array(v, np.float32) for n, v in numbers.items()},
    }
    read = {name for n in nodes for name in n.input}
    used = {n: a for n, a in every.items() if n in read}
    return model_of(nodes, used, inputs={"x": ["N", 3, SIDE, SIDE]}, outputs=["logits"])


def picture(seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)


def softmax(s: Array) -> Array:
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(
    x: Array,
    w: dict[str, Array],
    *,
    prefix: int,
    pooled: bool,
    layers: int,
    change: dict[int, Array] | None = None,
    frozen: list[Array] | None = None,
) -> tuple[Array, list[Array]]:
    """Return the logits and the attention of each layer, to which ``change`` is added.

    Spreads, attention and slopes are put into ``frozen`` where it is empty, and taken from there where it is not.
    """
    given = iter(frozen) if frozen else None

    def held(v: Array) -> Array:
        if given is not None:
            return next(given)
        if frozen is not None:
            frozen.append(v)
        return v

    w = {n: a.astype(np.float64) for n, a in w.items()}
    patches = x[0].reshape(3, GRID, PATCH, GRID, PATCH)
    t = np.einsum("ciajb,ocab->ijo", patches, w["patch"]).reshape(-1, WIDTH) + w["patch_b"]
    t = np.concatenate([w["class"][0][:prefix], t]) + w["places"][0]

    def norm(v: Array, scale: Array, shift: Array) -> Array:
        c = v - v.mean(-1, keepdims=True)
        return c / held(np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)) * scale + shift

    kept = []
    for i in range(layers):
        n = norm(t, w[f"g{i}"], w[f"g_b{i}"])
        q, k, v = ((n @ w[f"{m}{i}"] + w[f"{m}_b{i}"]).reshape(-1, HEADS, WIDTH // HEADS).swapaxes(0, 1) for m in "qkv")
        a = softmax(q @ k.swapaxes(1, 2) * (WIDTH / HEADS) ** -0.5)
        a = held(a + (change or {}).get(i, 0))
        kept.append(a)
        t = t + (a @ v).swapaxes(0, 1).reshape(-1, WIDTH) @ w[f"o{i}"] + w[f"o_b{i}"]
        u = norm(t, w[f"h{i}"], w[f"h_b{i}"]) @ w[f"up{i}"]
        t = t + (u * held((1 + np.vectorize(erf)(u / 2**0.5)) / 2)) @ w[f"down{i}"]
    f = t.mean(0) if pooled else t[0]
    return f @ w["head"] + w["head_b"], kept
