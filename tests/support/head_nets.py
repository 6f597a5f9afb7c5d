"""Small nets whose outputs mean different things, and the gradient of what they give by central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from parsed import double

FEATURES = "a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a) "
POOLED = FEATURES + "p = GlobalAveragePool(act)  v = Flatten<axis=1>(p) "
CELLS = (
    "a = Conv<pads=[1,1,1,1], strides=[4,4]>(x, W)  act = Relu(a)  q = Reshape(act, S)  t = Transpose<perm=[0,2,1]>(q) "
)
"""8 x 8 cells of an input of 32 x 32, (1, 64, 4)."""


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([23, *seed])


def net(
    body: str, ends: str, *, metadata: dict[str, str] | None = None, opset: int = 17, **weights: Any
) -> onnx.ModelProto:
    """Return ``g ends { body }`` with weights: W of 4 filters, S the shape (1, 4, 64), those given."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["":{opset}]> g {ends} {{ {body} }}')
    known: dict[str, Any] = {"W": normal(0, 4, 3, 3, 3), "S": np.array([1, 4, 64]), **weights}
    read = {n for node in model.graph.node for n in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in known.items() if k in read)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    return rng(seed).normal(size=shape).astype(np.float32)


def run(model: onnx.ModelProto, x: NDArray[Any], *names: str) -> Any:
    """Return the first output by onnxruntime, or the tensors named."""
    if names:
        wider = onnx.ModelProto()
        wider.CopyFrom(model)
        have = {o.name for o in model.graph.output}
        wider.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in have)
        return ort.InferenceSession(wider.SerializeToString()).run(list(names), {"x": x})
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def slope(model: onnx.ModelProto, x: NDArray[Any], read: Callable[[Any], float], *, pixels: Any) -> NDArray[np.float64]:
    """Return the largest absolute derivative over the channels, at ``pixels`` (n, 2), of what is ``read``.

    By central differences in float64, with the reference implementation.
    """
    session, wide = ReferenceEvaluator(double(model)), x.astype(np.float64)
    found = np.zeros((len(pixels), x.shape[1]))
    for n, c in np.ndindex(*found.shape):
        ends = []
        for sign in (1, -1):
            moved = wide.copy()
            moved[0, c, pixels[n][0], pixels[n][1]] += sign * 1e-6
            ends.append(float(read(session.run(None, {"x": moved})[0])))
        found[n, c] = (ends[0] - ends[1]) / 2e-6
    return np.asarray(np.abs(found).max(1))


def segmenter(*, last: bool = False, classes: int = 3, **more: Any) -> onnx.ModelProto:
    turn = "y = Transpose<perm=[0,2,3,1]>(z)" if last else "y = Identity(z)"
    ends = "8,8," if last else ""
    shape = f"{ends}{classes}" if last else f"{classes},8,8"
    return net(
        f"{FEATURES} z = Conv(act, V)  {turn}", f"(float[1,3,8,8] x) => (float[1,{shape}] y)",
        V=normal(1, classes, 4, 1, 1), **more,
    )  # fmt: skip


def classifier(count: int, *, end: str = "", **more: Any) -> onnx.ModelProto:
    tail = f"y = {end}(z)" if end else "y = Identity(z)"
    ends = f"(float[N,3,8,8] x) => (float[N,{count}] y)"
    return net(f"{POOLED} z = MatMul(v, V)  {tail}", ends, V=normal(2, 4, count) * 0.3, **more)


def plates() -> onnx.ModelProto:
    """Return a reader of 7 characters of 11 kinds."""
    return net(
        f"{POOLED} z = MatMul(v, V)  r = Reshape(z, seven)  y = Softmax<axis=2>(r)",
        "(float[N,3,8,8] x) => (float[N,7,11] y)", V=normal(3, 4, 77) * 0.3, seven=np.array([-1, 7, 11]),
    )  # fmt: skip


def detr() -> onnx.ModelProto:
    """Return boxes (1, 64, 9) and 5 classes, all of one sigmoid."""
    return net(
        f"{CELLS} u = MatMul(t, V)  y = Sigmoid(u)",
        "(float[1,3,32,32] x) => (float[1,64,9] y)",
        V=normal(4, 4, 9) * 0.2,
    )


def beside(end: str, *, centred: bool = False, **more: Any) -> onnx.ModelProto:
    """Return scores of 5 classes of 64 boxes beside the boxes: corners, or centre and size by a sigmoid."""
    tail = f"y = {end}(u)" if end else "y = Identity(u)"
    boxes = "b = Sigmoid(ub)" if centred else "b = Mul(ub, size)"
    return net(
        f"{CELLS} u = MatMul(t, V)  {tail}  ub = MatMul(t, Vb)  {boxes}",
        "(float[1,3,32,32] x) => (float[1,64,5] y, float[1,64,4] b)",
        V=normal(4, 4, 5) * 0.2, Vb=normal(5, 4, 4), size=np.float32(32), **more,
    )  # fmt: skip


def yolo(
    *, objectness: bool, turned: bool, extra: int = 0, classes: int = 5, joined: bool = True, **more: Any
) -> onnx.ModelProto:
    """Return boxes (1, 64, attributes) in pixels, joined of boxes, perhaps an objectness, classes, perhaps more."""
    width = 4 + objectness + classes + extra
    parts = ["b = Sigmoid(ub)  b32 = Mul(b, size)", "c = Sigmoid(uc)"]
    names = ["b32", "c"]
    if objectness:
        parts.append("o = Sigmoid(uo)")
        names.insert(1, "o")
    if extra:
        names.append("ue")
    sides = {"ub": 4, "uc": classes, **({"uo": 1} if objectness else {}), **({"ue": extra} if extra else {})}
    made = " ".join(f"{n} = MatMul(t, V{n})" for n in sides)
    weights = {f"V{n}": normal(5 + i, 4, w) * 0.1 for i, (n, w) in enumerate(sides.items())}
    join = f"j = Concat<axis=2>({', '.join(names)})"
    tail = "y = Transpose<perm=[0,2,1]>(k)" if turned else "y = Identity(k)"
    whole = "k = Identity(j)" if joined else "k = MatMul(j, eye)"
    shape = f"{width},64" if turned else f"64,{width}"
    return net(
        f"{CELLS} {made} {' '.join(parts)} {join} {whole} {tail}", f"(float[1,3,32,32] x) => (float[1,{shape}] y)",
        size=np.float32(32), eye=np.eye(width, dtype=np.float32), **weights, **more,
    )  # fmt: skip


def end_to_end() -> onnx.ModelProto:
    """Return the 5 best of 16 boxes (1, 5, 6): corners in pixels, score, number of the class."""
    body = (
        f"{CELLS} ub = MatMul(t, Vb)  b = Sigmoid(ub)  uc = MatMul(t, Vc)  c = Sigmoid(uc) "
        "best = ReduceMax<axes=[2], keepdims=0>(c)  top, i = TopK<axis=1>(best, five)  k = Unsqueeze(i, two) "
        "k4 = Expand(k, shape4)  k5 = Expand(k, shape5)  bb = GatherElements<axis=1>(b, k4) "
        "cc = GatherElements<axis=1>(c, k5)  flat = Reshape(cc, row)  s, j = TopK<axis=1>(flat, five) "
        "q5 = Cast<to=7>(five)  label = Mod(j, q5)  place = Div(j, q5)  p = Unsqueeze(place, two) "
        "p4 = Expand(p, shape4)  chosen = GatherElements<axis=1>(bb, p4)  xy, wh = Split<axis=2>(chosen, halves) "
        "half = Mul(wh, point5)  low = Sub(xy, half)  high = Add(xy, half)  corners = Concat<axis=2>(low, high) "
        "px = Mul(corners, size)  s3 = Unsqueeze(s, two)  l3 = Unsqueeze(label, two)  lf = Cast<to=1>(l3) "
        "y = Concat<axis=2>(px, s3, lf)"
    )
    return net(
        body, "(float[1,3,16,16] x) => (float[1,5,6] y)", Vb=normal(8, 4, 4) * 0.3, Vc=normal(9, 4, 5) * 0.3,
        five=np.array([5]), two=np.array([2]), shape4=np.array([1, 5, 4]), shape5=np.array([1, 5, 5]),
        row=np.array([1, 25]), halves=np.array([2, 2]), point5=np.float32(0.5), size=np.float32(16),
        S=np.array([1, 4, 16]),
    )  # fmt: skip
