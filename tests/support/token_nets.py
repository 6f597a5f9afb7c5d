"""Small transformers for the tests, written as an exporter would write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from nets import Size, model_of, node
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from fgcam_onnx import load
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.program import TARGET, append_gradients, append_target
from fgcam_onnx.runtime import Session

WIDTH, PATCH, CLASSES = 6, 4, 3


class Writer:
    """Collects nodes and seeded weights."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Any] = {}

    def __call__(self, op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        self.nodes.append(node(op, inputs, output, **attrs))
        return output

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = (self.rng.standard_normal(shape) / np.sqrt(max(1, shape[0]))).astype(np.float32)
        return name

    def ints(self, name: str, *numbers: int) -> str:
        self.weights[name] = np.array(numbers, np.int64)
        return name

    def linear(self, x: str, output: str, *shape: int) -> str:
        return self("MatMul", [x, self.weight(f"{output}.w", *shape)], output)

    def norm(self, x: str, output: str, *, decomposed: bool = False) -> str:
        if not decomposed:
            self.weights[f"{output}.s"] = np.ones(WIDTH, np.float32)
            return self("LayerNormalization", [x, f"{output}.s", self.weight(f"{output}.b", WIDTH)], output, axis=-1)
        axes = self.ints("last", -1)
        self.weights["eps"] = np.array(1e-6, np.float32)
        mean = self("ReduceMean", [x, axes], f"{output}.mean", keepdims=1)
        centred = self("Sub", [x, mean], f"{output}.centred")
        square = self("Mul", [centred, centred], f"{output}.square")
        variance = self("ReduceMean", [square, axes], f"{output}.variance", keepdims=1)
        root = self("Sqrt", [self("Add", [variance, "eps"], f"{output}.raised")], f"{output}.root")
        return self("Div", [centred, root], output)

    def block(self, x: str, name: str, *, decomposed: bool = False) -> str:
        """Attention of one head and a small MLP, each behind a norm and beside a residual."""
        n = self.norm(x, f"/{name}/norm1_output_0", decomposed=decomposed)
        q, k, v = (self.linear(n, f"/{name}/{s}_output_0", WIDTH, WIDTH) for s in "qkv")
        turned = self("Transpose", [k], f"/{name}/kt_output_0", perm=[0, 2, 1])
        a = self("Softmax", [self("MatMul", [q, turned], f"/{name}/qk_output_0")], f"/{name}/a_output_0", axis=-1)
        y = self.linear(self("MatMul", [a, v], f"/{name}/av_output_0"), f"/{name}/proj_output_0", WIDTH, WIDTH)
        x = self("Add", [x, y], f"/{name}/Add_output_0")
        n = self.norm(x, f"/{name}/norm2_output_0", decomposed=decomposed)
        inner = self("Relu", [self.linear(n, f"/{name}/fc1_output_0", WIDTH, 8)], f"/{name}/Relu_output_0")
        return self("Add", [x, self.linear(inner, f"/{name}/fc2_output_0", 8, WIDTH)], f"/{name}/Add_1_output_0")


def transformer(
    *,
    grid: tuple[int, int] = (2, 3),
    before: int = 1,
    after: int = 0,
    pool: str = "class",
    channels_last: bool = False,
    decomposed: bool = False,
    embed: str = "Conv",
    batch: Size = "N",
    order: tuple[int, ...] = (),
) -> ModelProto:
    """Build a vision transformer of two blocks on pictures of ``grid`` patches of 4 x 4.

    ``pool`` is ``class`` (the first token), ``mean`` (all tokens) or ``patches`` (the grid's).
    ``embed`` is ``Conv``, ``Reshape`` (patches cut out and multiplied) or ``Einsum`` (turned so that
    the graph does not show where elements go).
    """
    w, (h, wd) = Writer(), grid
    count = h * wd
    if embed == "Reshape":
        cut = w("Reshape", ["input", w.ints("cut", -1, 3, h, PATCH, wd, PATCH)], "cut_output_0")
        laid = w("Transpose", [cut], "laid_output_0", perm=[0, 2, 4, 3, 5, 1])
        flat = w("Reshape", [laid, w.ints("flat", -1, count, PATCH * PATCH * 3)], "flat_output_0")
        x = w.linear(flat, "tokens", PATCH * PATCH * 3, WIDTH)
    else:
        maps = w(
            "Conv", ["input", w.weight("patch", WIDTH, 3, PATCH, PATCH)], "/patch/Conv_output_0", strides=[PATCH] * 2
        )
        if embed == "Einsum":
            last = w("Einsum", [maps], "last_output_0", equation="nchw->nhwc")
            x = w("Reshape", [last, w.ints("flat", -1, count, WIDTH)], "tokens")
        elif channels_last:
            last = w("Transpose", [maps], "last_output_0", perm=[0, 2, 3, 1])
            x = w("Reshape", [last, w.ints("flat", -1, count, WIDTH)], "tokens")
        else:
            flat = w("Reshape", [maps, w.ints("flat", -1, WIDTH, count)], "flat_output_0")
            x = w("Transpose", [flat], "tokens", perm=[0, 2, 1])
    if before or after:
        size = w("Gather", [w("Shape", ["input"], "size"), w.ints("zero", 0)], "count")
        full = w("Concat", [size, w.ints("rest", 1, WIDTH)], "full", axis=0)
        tokens = [
            w("Expand", [w.weight(f"extra{i}", 1, 1, WIDTH), full], f"extra{i}_output_0") for i in range(before + after)
        ]
        x = w("Concat", [*tokens[:before], x, *tokens[before:]], "joined", axis=1)
    x = w("Add", [x, w.weight("position", 1, count + before + after, WIDTH)], "/embed/Add_output_0")
    for i in range(2):
        x = w.block(x, f"blocks.{i}", decomposed=decomposed)
    x = w.norm(x, "/norm/norm_output_0", decomposed=decomposed)
    if pool == "class":
        w.weights["which"] = np.array(0, np.int64)
        x = w("Gather", [x, "which"], "pooled", axis=1)
    else:
        if pool == "patches" and before + after:
            x = w(
                "Slice",
                [x, w.ints("from", before), w.ints("to", before + count), w.ints("along", 1)],
                "/cut/Slice_output_0",
            )
        x = w("ReduceMean", [x, w.ints("tokens.axis", 1)], "pooled", keepdims=0)
    w.linear(x, "logits", WIDTH, CLASSES)
    return model_of(w.nodes, w.weights, inputs={"input": [batch, 3, h * PATCH, wd * PATCH]}, outputs=["logits"])


def windowed(*, grid: tuple[int, int] = (4, 6), window: int = 2, shift: int = 1) -> ModelProto:
    """Build a block of shifted windows on channels-last maps, then a merging of patches, as Swin has them."""
    w, (h, wd) = Writer(), grid
    maps = w("Conv", ["input", w.weight("patch", WIDTH, 3, PATCH, PATCH)], "/patch/Conv_output_0", strides=[PATCH] * 2)
    x = w("Transpose", [maps], "/patch/Transpose_output_0", perm=[0, 2, 3, 1])

    def rolled(x: str, name: str, by: int) -> str:
        for axis in (1, 2):
            cut = w.ints(f"cut{by}", by), w.ints("end", 2**31), w.ints(f"axis{axis}", axis)
            tail = w("Slice", [x, *cut], f"/{name}/tail{axis}_output_0")
            head = w("Slice", [x, w.ints("zero", 0), cut[0], cut[2]], f"/{name}/head{axis}_output_0")
            x = w("Concat", [tail, head], f"/{name}/rolled{axis}_output_0", axis=axis)
        return x

    y = rolled(w.norm(x, "/block/norm_output_0"), "there", shift)
    rows, columns = h // window, wd // window
    y = w("Reshape", [y, w.ints("split", -1, rows, window, columns, window, WIDTH)], "/block/split_output_0")
    y = w("Transpose", [y], "/block/turned_output_0", perm=[0, 1, 3, 2, 4, 5])
    y = w("Reshape", [y, w.ints("windows", -1, window * window, WIDTH)], "/block/windows_output_0")
    turned = w("Transpose", [y], "/block/kt_output_0", perm=[0, 2, 1])
    a = w("Softmax", [w("MatMul", [y, turned], "/block/qk_output_0")], "/block/a_output_0", axis=-1)
    y = w("MatMul", [a, w.linear(y, "/block/v_output_0", WIDTH, WIDTH)], "/block/av_output_0")
    y = w("Reshape", [y, w.ints("grid", -1, rows, columns, window, window, WIDTH)], "/block/grid_output_0")
    y = w("Transpose", [y], "/block/back_output_0", perm=[0, 1, 3, 2, 4, 5])
    y = w("Reshape", [y, w.ints("picture", -1, h, wd, WIDTH)], "/block/picture_output_0")
    y = rolled(y, "back", -shift)
    x = w("Add", [x, y], "/block/Add_output_0")
    parts = []
    for i, j in ((0, 0), (1, 0), (0, 1), (1, 1)):
        ends = w.ints(f"start{i}{j}", i, j), w.ints("far", 2**31, 2**31), w.ints("space", 1, 2), w.ints("two", 2, 2)
        parts.append(w("Slice", [x, *ends], f"/merge/part{i}{j}_output_0"))
    x = w("Concat", parts, "/merge/Concat_output_0", axis=3)
    x = w.linear(x, "/merge/MatMul_output_0", 4 * WIDTH, WIDTH)
    x = w("Reshape", [x, w.ints("sequence", -1, h * wd // 4, WIDTH)], "/tail/Reshape_output_0")
    x = w.norm(x, "/tail/norm_output_0")
    w("ReduceMean", [x, w.ints("tokens.axis", 1)], "pooled", keepdims=0)
    w.linear("pooled", "logits", WIDTH, CLASSES)
    return model_of(w.nodes, w.weights, inputs={"input": ["N", 3, h * PATCH, wd * PATCH]}, outputs=["logits"])


def mixing(*, grid: tuple[int, int] = (2, 3)) -> ModelProto:
    """Build a block that multiplies along the tokens, as MLP-Mixer does."""
    w, (h, wd) = Writer(), grid
    maps = w("Conv", ["input", w.weight("patch", WIDTH, 3, PATCH, PATCH)], "/patch/Conv_output_0", strides=[PATCH] * 2)
    flat = w("Reshape", [maps, w.ints("flat", -1, WIDTH, h * wd)], "/patch/Reshape_output_0")
    x = w("Transpose", [flat], "tokens", perm=[0, 2, 1])
    y = w("Transpose", [w.norm(x, "/block/norm1_output_0")], "/block/turned_output_0", perm=[0, 2, 1])
    y = w("Relu", [w.linear(y, "/block/mix1_output_0", h * wd, h * wd)], "/block/Relu_output_0")
    y = w("Transpose", [y], "/block/back_output_0", perm=[0, 2, 1])
    x = w.norm(w("Add", [x, y], "/block/Add_output_0"), "/norm/norm_output_0")
    w("ReduceMean", [x, w.ints("tokens.axis", 1)], "pooled", keepdims=0)
    w.linear("pooled", "logits", WIDTH, CLASSES)
    return model_of(w.nodes, w.weights, inputs={"input": ["N", 3, h * PATCH, wd * PATCH]}, outputs=["logits"])


def gradients_at(proto: ModelProto, names: list[str], x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return activations (``a/NAME``) and gradients of the top class (``g/NAME``) of whole tensors."""
    model = load(proto)
    emitter = Emitter(model)
    scored = append_target(emitter, find_score(model).logits)
    found = append_gradients(emitter, names, output="logits", seed=scored.seed)
    for name in names:
        emitter.output(f"a/{name}", emitter.value(name))
        emitter.output(f"g/{name}", found[name])
    return Session(emitter.build()).run({"input": x, TARGET: np.full(len(x), -1)})
