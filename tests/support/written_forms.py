"""One small net, a transformer block behind a convolution, in the many forms in which exporters write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from nets import model_of, node
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

Array = NDArray[Any]
MS = "com.microsoft"
SIDE, PATCH, WIDTH, HEADS, HIDDEN, CLASSES = 16, 4, 16, 2, 24, 5
SIZE, TOKENS = WIDTH // HEADS, (SIDE // PATCH) ** 2
EPSILON = 1e-5


def weights(seed: int = 0) -> dict[str, Array]:
    """Draw the weights of the net."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    made = {
        "stem": normal(WIDTH, 3, PATCH, PATCH, scale=0.2), "stem.b": normal(WIDTH, scale=0.1),
        "up": normal(WIDTH, HIDDEN, scale=0.4), "up.b": normal(HIDDEN, scale=0.2),
        "down": normal(HIDDEN, WIDTH, scale=0.3), "down.b": normal(WIDTH, scale=0.2),
        "head": normal(WIDTH, CLASSES), "head.b": normal(CLASSES, scale=0.1),
    }  # fmt: skip
    for name in "qkvo":
        made |= {name: normal(WIDTH, WIDTH, scale=0.35), f"{name}.b": normal(WIDTH, scale=0.1)}
    for name in ("norm1", "norm2", "norm3"):
        made |= {name: 1 + normal(WIDTH, scale=0.2), f"{name}.b": normal(WIDTH, scale=0.2)}
    return made


@dataclass
class Writing:
    """A graph that is being written."""

    arrays: dict[str, Array]
    nodes: list[NodeProto] = field(default_factory=list)

    def __call__(self, op: str, *inputs: str, out: str = "", domain: str = "", **attrs: Any) -> str:
        name = out or f"{op}_{len(self.nodes)}"
        self.nodes.append(node(op, inputs, name, domain=domain, **attrs))
        return name

    def number(self, value: float) -> str:
        return self.array(np.float32(value))

    def ints(self, *values: int) -> str:
        return self.array(np.array(values, np.int64))

    def array(self, value: Any) -> str:
        name = f"constant_{len(self.arrays)}"
        self.arrays[name] = np.asarray(value)
        return name

    def linear(self, x: str, name: str) -> str:
        return self("Add", self("MatMul", x, name), f"{name}.b")


# ---- activations


def gelu(w: Writing, x: str, form: str) -> str:
    """Write ``x Phi(x)``."""
    if form == "Gelu":
        return w("Gelu", x)
    if form == "ms Gelu":
        return w("Gelu", x, domain=MS)
    half, one = w.number(0.5), w.number(1)
    if form == "scaled":
        e = w("Add", w("Erf", w("Mul", x, w.number(np.sqrt(0.5)))), one)
    else:
        e = w("Add", one, w("Erf", w("Div", x, w.number(np.sqrt(2)))))
    if form in ("x half", "scaled"):
        return w("Mul", w("Mul", x, half), e)
    return w("Mul", w("Mul", x, e), half) if form == "last half" else w("Mul", x, w("Mul", half, e))


def gelu_tanh(w: Writing, x: str, form: str) -> str:
    """Write the tanh approximation of GELU."""
    if form == "Gelu":
        return w("Gelu", x, approximate="tanh")
    if form == "ms FastGelu":
        return w("FastGelu", x, domain=MS)
    cube = w("Pow", x, w.number(3)) if form == "Pow" else w("Mul", w("Mul", x, x), x)
    inner = w("Mul", w.number(np.sqrt(2 / np.pi)), w("Add", x, w("Mul", cube, w.number(0.044715))))
    return w("Mul", w("Mul", w.number(0.5), x), w("Add", w.number(1), w("Tanh", inner)))


def swish(w: Writing, x: str, form: str) -> str:
    """Write ``x sigmoid(x)``."""
    if form == "Swish":
        return w("Swish", x)
    if form == "ms QuickGelu":
        return w("QuickGelu", x, domain=MS, alpha=1.0)
    if form == "exponential":
        return w("Div", x, w("Add", w.number(1), w("Exp", w("Neg", x))))
    s = w("Sigmoid", x)
    return w("Mul", s, x) if form == "sigmoid first" else w("Mul", x, s)


# ---- normalizations


def norm(w: Writing, x: str, name: str, form: str) -> str:
    """Write a LayerNormalization."""
    if form == "operator":
        return w("LayerNormalization", x, name, f"{name}.b", axis=-1, epsilon=EPSILON)
    mean = w("ReduceMean", x, w.ints(-1))
    d = w("Sub", x, mean)
    again = w("Sub", x, mean) if form == "twice" else d
    square = w("Pow", again, w.number(2)) if form == "Pow" else w("Mul", again, d)
    v = w("Add", w("ReduceMean", square, w.ints(-1)), w.number(EPSILON))
    if form == "root":
        hat = w("Mul", d, w("Mul", w("Reciprocal", w("Sqrt", v)), name))
        return w("Add", hat, f"{name}.b")
    hat = w("Mul", d, w("Pow", v, w.number(-0.5))) if form == "power" else w("Div", d, w("Sqrt", v))
    return w("Add", w("Mul", hat, name), f"{name}.b")


# ---- attention


def by_heads(w: Writing, x: str, *, transposed: bool = False) -> str:
    split = w("Reshape", x, w.ints(0, 0, HEADS, SIZE))
    return w("Transpose", split, perm=[0, 2, 3, 1] if transposed else [0, 2, 1, 3])


def joined(w: Writing, x: str) -> str:
    return w("Reshape", w("Transpose", x, perm=[0, 2, 1, 3]), w.ints(0, 0, WIDTH))


def attention(w: Writing, x: str, form: str) -> str:
    """Write self-attention up to its last projection."""
    if form == "ms Attention":
        arrays = [w.arrays[n] for n in "qkv"], [w.arrays[f"{n}.b"] for n in "qkv"]
        weight, bias = (w.array(np.concatenate(a, -1)) for a in arrays)
        return w("Attention", x, weight, bias, domain=MS, num_heads=HEADS)
    if form == "ms MultiHeadAttention with its bias":
        plain = [w("MatMul", x, n) for n in "qkv"]
        bias = w.array(np.concatenate([w.arrays[f"{n}.b"] for n in "qkv"]))
        return w("MultiHeadAttention", *plain, bias, domain=MS, num_heads=HEADS)
    q, k, v = (w.linear(x, n) for n in "qkv")
    if form == "ms MultiHeadAttention":
        return w("MultiHeadAttention", q, k, v, domain=MS, num_heads=HEADS)
    if form == "ms MultiHeadAttention, packed":
        apart = [w("Reshape", y, w.ints(0, 0, HEADS, 1, SIZE)) for y in (q, k, v)]
        return w("MultiHeadAttention", w("Concat", *apart, axis=3), domain=MS, num_heads=HEADS)
    if form == "Attention of rows":
        return w("Attention", q, k, v, q_num_heads=HEADS, kv_num_heads=HEADS)
    if form == "Attention of heads":
        return joined(w, w("Attention", *(by_heads(w, y) for y in (q, k, v))))
    if form == "Attention, masked":
        mask = w.array(np.ones((TOKENS, TOKENS), np.bool_))
        return joined(w, w("Attention", *(by_heads(w, y) for y in (q, k, v)), mask))
    scale = SIZE**-0.5
    qh, kt, vh = by_heads(w, q), by_heads(w, k, transposed=True), by_heads(w, v)
    if form == "scaled apart":
        root = w.number(scale**0.5)
        logits = w("MatMul", w("Mul", qh, root), w("Mul", kt, root))
    elif form == "divided":
        logits = w("Div", w("MatMul", qh, kt), w.number(1 / scale))
    else:
        logits = w("Mul", w("MatMul", qh, kt), w.number(scale))
    if form in ("guarded", "guarded by row"):
        logits = w("Add", logits, w.array(np.zeros((TOKENS, TOKENS), np.float32)))
    if form == "Softmax in pieces":
        e = w("Exp", w("Sub", logits, w("ReduceMax", logits, w.ints(-1))))
        weights = w("Div", e, w("ReduceSum", e, w.ints(-1)))
    else:
        weights = w("Softmax", logits, axis=-1)
    if form == "guarded":
        weights = w("Where", w("IsNaN", weights), w.number(0), weights)
    if form == "guarded by row":
        least = w("ReduceMax", logits, w.ints(-1))
        weights = w("Where", w("Equal", least, w.number(-np.inf)), w.number(0), weights)
    if form == "cast":
        weights = w("Cast", weights, to=TensorProto.FLOAT)
    return joined(w, w("MatMul", weights, vh))


BASE: Mapping[str, Any] = {
    "attention": "written", "activation": "x half", "swish": "sigmoid last", "norm": "operator", "skip": False,
    "dense": "MatMul", "opset": 18, "tanh": False,
}  # fmt: skip

FORMS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "attention": [
        *({"attention": f} for f in ("divided", "scaled apart", "guarded", "guarded by row", "Softmax in pieces",
                                     "cast", "ms Attention", "ms MultiHeadAttention",
                                     "ms MultiHeadAttention with its bias", "ms MultiHeadAttention, packed")),
        *({"attention": f, "opset": o} for f in ("Attention of rows", "Attention of heads", "Attention, masked")
          for o in (23, 24)),
    ],
    "GELU": [
        *({"activation": f} for f in ("scaled", "last half", "half inside", "ms Gelu", "ms BiasGelu")),
        {"activation": "Gelu", "opset": 20},
    ],
    "GELU by tanh": [
        {"tanh": True, "activation": "product"}, {"tanh": True, "activation": "Pow"},
        {"tanh": True, "activation": "ms FastGelu"}, {"tanh": True, "activation": "Gelu", "opset": 20},
    ],
    "SiLU": [
        *({"swish": f} for f in ("sigmoid first", "exponential", "ms QuickGelu")), {"swish": "Swish", "opset": 24},
    ],
    "LayerNormalization": [
        *({"norm": f} for f in ("Pow", "product", "twice", "root", "power")), {"skip": True},
    ],
    "linear layers": [{"dense": "Gemm"}],
}  # fmt: skip
"""What is another way of writing, by what is written; the first of ``tanh`` is compared with."""


def net(**form: Any) -> ModelProto:
    """Return the net in the form that differs from ``BASE`` by what is given."""
    chosen = {**BASE, **form}
    w = Writing(weights())
    x = w("Conv", "x", "stem", "stem.b", strides=[PATCH] * 2, kernel_shape=[PATCH] * 2)
    x = swish(w, x, chosen["swish"])
    x = w("Transpose", w("Reshape", x, w.ints(0, WIDTH, -1)), perm=[0, 2, 1])
    y = w.linear(attention(w, norm(w, x, "norm1", chosen["norm"]), chosen["attention"]), "o")
    if chosen["skip"]:
        z, x = f"skip_{len(w.nodes)}", f"sum_{len(w.nodes)}"
        w.nodes.append(node("SkipLayerNormalization", [_residual(w), y, "norm2", "norm2.b"], z, "", "", x,
                            domain=MS, epsilon=EPSILON))  # fmt: skip
    else:
        x = w("Add", x, y)
        z = norm(w, x, "norm2", chosen["norm"])
    if chosen["activation"] == "ms BiasGelu":
        z = w("BiasGelu", w("MatMul", z, "up"), "up.b", domain=MS)
    else:
        z = (gelu_tanh if chosen["tanh"] else gelu)(w, w.linear(z, "up"), chosen["activation"])
    x = norm(w, w("Add", x, w.linear(z, "down")), "norm3", chosen["norm"])
    pooled = w("ReduceMean", x, w.ints(1), keepdims=0)
    if chosen["dense"] == "Gemm":
        w("Gemm", pooled, "head", "head.b", out="logits")
    else:
        w("Add", w("MatMul", pooled, "head"), "head.b", out="logits")
    read = {i for n in w.nodes for i in n.input}
    arrays = {n: a for n, a in w.arrays.items() if n in read}
    sizes = {"x": ["N", 3, SIDE, SIDE]}
    return model_of(w.nodes, arrays, inputs=sizes, outputs=["logits"], opset=chosen["opset"], domains=[MS])


def _residual(w: Writing) -> str:
    """Return the tokens that attention's first normalization reads."""
    return next(n.input[0] for n in w.nodes if n.op_type == "LayerNormalization")


def picture(count: int = 2, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)


def every_form() -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Return a name, the form, and the one that it is to be equal to."""
    found = []
    for kind, forms in FORMS.items():
        base = forms[0] if "tanh" in forms[0] else {}
        for form in forms:
            if form is not base:
                said = ", ".join(f"{v}" for k, v in form.items() if k not in ("tanh", "opset"))
                said = "SkipLayerNormalization" if "skip" in form else said
                found.append((f"{kind}: {said}, opset {form.get('opset', 18)}", form, base))
    return found
