"""ONNX Runtime's own operators: the loaded program is the original, and what it leaves in files is explained."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from fused_attention import ATTENTION
from nets import images, model_of, node, small_nodes, small_weights
from onnx import ModelProto, TensorProto
from oracles import interpreted, needed, probe, retyped, slopes
from plain import run_plainly, same
from spec import normal, uniform

from fgcam_onnx import explain, load
from fgcam_onnx.errors import FgcamError, ModelError
from fgcam_onnx.loading.contrib import CONTRIB

EXPORTED = Path(__file__).parents[2] / "exported_models"
MS = "com.microsoft"
X = normal(2, 3, 8)
WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
KERNEL, PICTURE = normal(4, 3, 3, 3), normal(2, 3, 5, 6)

Case = tuple[str, list[np.ndarray | None], dict[str, Any]]

CASES: dict[str, Case] = {
    **ATTENTION,
    "BiasGelu": ("BiasGelu", [X, normal(8)], {}),
    "FastGelu": ("FastGelu", [X], {}),
    "FastGelu with a bias": ("FastGelu", [X, normal(8)], {}),
    "FusedConv": ("FusedConv", [PICTURE, KERNEL, normal(4)], {"activation": "Relu", **WINDOW}),
    "FusedConv without bias": ("FusedConv", [PICTURE, KERNEL], {"activation": "Sigmoid", "strides": [2, 1], **WINDOW}),
    "FusedConv of LeakyRelu": (
        "FusedConv",
        [PICTURE, KERNEL, normal(4)],
        {"activation": "LeakyRelu", "activation_params": [0.3], **WINDOW},
    ),
    "FusedConv of Clip": (
        "FusedConv",
        [PICTURE, KERNEL, normal(4)],
        {"activation": "Clip", "activation_params": [-1.5, 2.5], **WINDOW},
    ),
    "FusedConv of HardSigmoid": (
        "FusedConv",
        [PICTURE, KERNEL, normal(4)],
        {"activation": "HardSigmoid", "activation_params": [0.1, 0.4], **WINDOW},
    ),
    "FusedConv in groups": ("FusedConv", [PICTURE, normal(6, 1, 3, 3)], {"activation": "Tanh", "group": 3, **WINDOW}),
    "FusedConv with a residual": (
        "FusedConv",
        [PICTURE, KERNEL, normal(4), normal(2, 4, 5, 6)],
        {"activation": "Relu", **WINDOW},
    ),
    "FusedConv with a residual and no bias": (
        "FusedConv",
        [PICTURE, KERNEL, None, normal(2, 4, 5, 6)],
        {"activation": "Relu", **WINDOW},
    ),
    "FusedGemm": ("FusedGemm", [normal(3, 4), normal(5, 4), normal(5)], {"activation": "Relu", "transB": 1}),
    "FusedGemm of LeakyRelu": (
        "FusedGemm",
        [normal(4, 3), normal(4, 5)],
        {"activation": "LeakyRelu", "activation_alpha": 0.2, "transA": 1, "alpha": 0.5},
    ),
    "FusedMatMul": ("FusedMatMul", [X, normal(2, 8, 5)], {}),
    "FusedMatMul scaled, b transposed": ("FusedMatMul", [X, normal(2, 5, 8)], {"alpha": 0.3, "transB": 1}),
    "FusedMatMul, a transposed": ("FusedMatMul", [normal(2, 8, 3), normal(2, 8, 5)], {"transA": 1}),
    "FusedMatMul, batch of a moved": (
        "FusedMatMul",
        [normal(3, 2, 4, 8), normal(2, 4, 8, 5)],
        {"transBatchA": 1},
    ),
    "FusedMatMul, batch of both moved and transposed": (
        "FusedMatMul",
        [normal(8, 2, 3), normal(5, 2, 8)],
        {"transBatchA": 1, "transBatchB": 1, "transA": 1, "transB": 1},
    ),
    "Gelu": ("Gelu", [X], {}),
    "LayerNormalization": ("LayerNormalization", [X, uniform(0.5, 1.5, 8), normal(8)], {"epsilon": 0.1}),
    "QuickGelu": ("QuickGelu", [X], {}),
    "QuickGelu sharper": ("QuickGelu", [X], {"alpha": 3.0}),
    "SimplifiedLayerNormalization": ("SimplifiedLayerNormalization", [X, uniform(0.5, 1.5, 8)], {"epsilon": 0.1}),
    "SimplifiedLayerNormalization over two axes": (
        "SimplifiedLayerNormalization",
        [X, uniform(0.5, 1.5, 3, 8)],
        {"axis": 1},
    ),
    "SkipLayerNormalization": (
        "SkipLayerNormalization",
        [X, normal(2, 3, 8, seed=1), uniform(0.5, 1.5, 8), normal(8), normal(8, seed=1)],
        {"epsilon": 0.01},
    ),
    "SkipLayerNormalization without shift": (
        "SkipLayerNormalization",
        [X, normal(2, 3, 8, seed=1), uniform(0.5, 1.5, 8)],
        {},
    ),
    "SkipLayerNormalization of a broadcast skip": (
        "SkipLayerNormalization",
        [X, normal(3, 8), uniform(0.5, 1.5, 8), None, normal(8, seed=1)],
        {},
    ),
    "SkipSimplifiedLayerNormalization": (
        "SkipSimplifiedLayerNormalization",
        [X, normal(2, 3, 8, seed=1), uniform(0.5, 1.5, 8), normal(8, seed=1)],
        {"epsilon": 0.01},
    ),
}
QUANTIZED = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
IN_INTEGERS = {"MatMulNBits", "QAttention"}
"""Tried in test_contrib_quantized.py."""
IN_ONNX_DOMAIN = {"LayerNormalization": 16, "SimplifiedLayerNormalization": 18}
"""Operators that ONNX Runtime reads in ONNX's domain, and an opset in which ONNX does not have them."""

every = pytest.mark.parametrize("about", CASES)


def built(about: str, *, outputs: int = 1) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a model of one node, whose inputs that are no more than (C,) vectors are weights, and its feeds."""
    op, given, attrs = CASES[about]
    arrays = {f"x{i}": a.astype(np.float32) for i, a in enumerate(given) if a is not None}
    fed = {n: a for n, a in arrays.items() if a.ndim > 1}
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(given)]
    own = op in IN_ONNX_DOMAIN
    results = ["y0", "", "", "y1"][: 4 if outputs > 1 else 1]
    model = model_of(
        [node(op, names, *results, domain="" if own else MS, **attrs)],
        {n: a for n, a in arrays.items() if n not in fed},
        inputs={n: a.shape for n, a in fed.items()},
        outputs=[r for r in results if r],
        opset=IN_ONNX_DOMAIN.get(op, 18),
        domains=[] if own else [MS],
    )
    return model, fed


def plainly(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(r) for r in session.run(None, feeds)]


def test_every_formula_is_tried() -> None:
    assert {f"{MS}.{op}" for op in {op for op, _, _ in CASES.values()} | QUANTIZED | IN_INTEGERS} == set(CONTRIB)


@every
def test_the_loaded_program_is_the_original(about: str) -> None:
    model, feeds = built(about)
    loaded = load(model)
    assert {n.domain for n in loaded.nodes} == {""}
    assert set(loaded.opsets) == {""}
    onnx.checker.check_model(loaded.standalone(), full_check=True)
    (expected,) = plainly(model, feeds)
    found = plainly(loaded.standalone(), feeds)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every
def test_its_gradient_agrees_with_the_directional_difference(about: str) -> None:
    model, feeds = built(about)
    exact = {n: a.astype(np.float64) for n, a in feeds.items()}
    tested = probe(retyped(model, TensorProto.DOUBLE), wrt=list(feeds), output="y0")
    for name in feeds:
        found = slopes(tested, exact, name, np.random.default_rng(0))
        assert found.agree(rtol=1e-6), f"{name}: {found}"
        assert not found.scaled(1.01).agree(rtol=1e-6)


@pytest.mark.parametrize("about", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_the_sum_before_a_normalization_is_an_output_too(about: str) -> None:
    model, feeds = built(about, outputs=2)
    for found, expected in zip(plainly(load(model).standalone(), feeds), plainly(model, feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_another_activation_would_be_seen() -> None:
    """Negative control."""
    model, feeds = built("FusedConv")
    changed = ModelProto()
    changed.CopyFrom(model)
    next(a for a in changed.graph.node[0].attribute if a.name == "activation").s = b"Tanh"
    (expected,) = plainly(model, feeds)
    assert np.abs(plainly(load(changed).standalone(), feeds)[0] - expected).max() > 0.1


@pytest.mark.parametrize("op", sorted(QUANTIZED))
def test_a_fused_integer_product_is_the_one_written_out(op: str) -> None:
    b, scale, zero = np.arange(-12, 12, dtype=np.int8).reshape(8, 3), np.float32([0.1]), np.int8([1])
    weights = {"b": b, "b_scale": scale, "b_zero": zero, "bias": np.float32([1, 2, 3])}
    quantize = node("DynamicQuantizeLinear", ["x"], "q", "a_scale", "a_zero")
    nodes = {
        "DynamicQuantizeMatMul": [node(op, ["x", "b", "b_scale", "b_zero", "bias"], "y", domain=MS)],
        "MatMulIntegerToFloat": [
            quantize,
            node(op, ["q", "b", "a_scale", "b_scale", "a_zero", "b_zero", "bias"], "y", domain=MS),
        ],
    }[op]
    model = model_of(nodes, weights, inputs={"x": [4, 8]}, outputs=["y"], domains=[MS])
    x = normal(4, 8).astype(np.float32)
    np.testing.assert_allclose(
        plainly(load(model).standalone(), {"x": x})[0], plainly(model, {"x": x})[0], rtol=1e-5, atol=1e-5
    )
    tested = probe(model, wrt=["x"], output="y")
    seed = normal(4, 3, seed=1).astype(np.float32)
    found = interpreted(tested.gradient, needed(tested.gradient, {"x": x, "seed": seed}))["d/x"]
    np.testing.assert_allclose(found, seed @ ((b - 1.0) * 0.1).T, rtol=1e-4, atol=1e-5)


# ---- files as ONNX Runtime writes them


def optimized(path: Path | ModelProto, folder: Path, *, level: str = "EXTENDED") -> ModelProto:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    source = path.SerializeToString() if isinstance(path, ModelProto) else path
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")


def own_operators(model: ModelProto) -> Counter[str]:
    return Counter(n.op_type for n in model.graph.node if n.domain)


def transformer() -> ModelProto:
    """Build a vision transformer of one block, as torch writes it: patches, attention, GELU, normalization."""
    rng = np.random.default_rng(0)
    d, heads, count = 16, 2, 16
    weights = {
        "patch": rng.standard_normal((d, 3, 4, 4)) * 0.2,
        "shift": rng.standard_normal(d) * 0.1,
        "places": rng.standard_normal((1, count, d)) * 0.2,
        **{n: rng.standard_normal((d, d)) * 0.3 for n in ("q", "k", "v", "o")},
        **{f"{n}.bias": rng.standard_normal(d) * 0.1 for n in ("q", "k", "v", "o")},
        **{f"{n}.scale": rng.uniform(0.5, 1.5, d) for n in ("norm1", "norm2")},
        **{f"{n}.shift": rng.standard_normal(d) * 0.1 for n in ("norm1", "norm2")},
        "up": rng.standard_normal((d, 2 * d)) * 0.3,
        "up.bias": rng.standard_normal(2 * d) * 0.1,
        "down": rng.standard_normal((2 * d, d)) * 0.3,
        "root": np.array(np.sqrt(2)),
        "one": np.array(1.0),
        "half": np.array(0.5),
        "scale": np.array(np.sqrt(d / heads)),
        "head": rng.standard_normal((d, 5)),
    }
    constants = {n: a.astype(np.float32) for n, a in weights.items()}
    constants |= {"split": np.array([0, count, heads, d // heads]), "join": np.array([0, count, d])}
    constants |= {"tokens": np.array([0, d, count]), "one_axis": np.array([1])}

    def heads_of(name: str, perm: list[int]) -> list[Any]:
        return [
            node("MatMul", ["normed", name], f"{name}0"),
            node("Add", [f"{name}0", f"{name}.bias"], f"{name}1"),
            node("Reshape", [f"{name}1", "split"], f"{name}2"),
            node("Transpose", [f"{name}2"], f"{name}3", perm=perm),
        ]

    nodes = [
        node("Conv", ["input", "patch", "shift"], "patches", kernel_shape=[4, 4], strides=[4, 4]),
        node("Relu", ["patches"], "features"),
        node("Reshape", ["features", "tokens"], "rows"),
        node("Transpose", ["rows"], "columns", perm=[0, 2, 1]),
        node("Add", ["columns", "places"], "stream"),
        node("LayerNormalization", ["stream", "norm1.scale", "norm1.shift"], "normed"),
        *heads_of("q", [0, 2, 1, 3]), *heads_of("k", [0, 2, 3, 1]), *heads_of("v", [0, 2, 1, 3]),
        node("MatMul", ["q3", "k3"], "products"),
        node("Div", ["products", "scale"], "scaled"),
        node("Softmax", ["scaled"], "attention", axis=-1),
        node("MatMul", ["attention", "v3"], "mixed"),
        node("Transpose", ["mixed"], "mixed1", perm=[0, 2, 1, 3]),
        node("Reshape", ["mixed1", "join"], "joined"),
        node("MatMul", ["joined", "o"], "o0"),
        node("Add", ["o0", "o.bias"], "o1"),
        node("Add", ["o1", "stream"], "stream2"),
        node("LayerNormalization", ["stream2", "norm2.scale", "norm2.shift"], "normed2"),
        node("MatMul", ["normed2", "up"], "up0"),
        node("Add", ["up0", "up.bias"], "up1"),
        node("Div", ["up1", "root"], "g0"),
        node("Erf", ["g0"], "g1"),
        node("Add", ["g1", "one"], "g2"),
        node("Mul", ["up1", "g2"], "g3"),
        node("Mul", ["g3", "half"], "g4"),
        node("MatMul", ["g4", "down"], "down0"),
        node("Add", ["down0", "stream2"], "stream3"),
        node("ReduceMean", ["stream3"], "mean", axes=[1], keepdims=0),
        node("MatMul", ["mean", "head"], "logits"),
    ]  # fmt: skip
    return model_of(nodes, constants, inputs={"input": ["N", 3, 16, 16]}, outputs=["logits"], opset=17)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_an_optimized_file_gives_the_maps_of_the_one_it_was_made_from(tmp_path: Path, exporter: str) -> None:
    path = EXPORTED / f"resnet_shapes.{exporter}.onnx"
    fused = optimized(path, tmp_path)
    assert own_operators(fused)["FusedConv"] > 3
    shape = [d if isinstance(d, int) else 2 for d in load(path).inputs[0].shape]
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    for method in ("fgcam", "gradcam", "relevancecam"):
        plain = explain(path, x, method=method)
        same(explain(fused, x, method=method, layers=list(plain.maps)), plain, tolerance=1e-4)


def test_an_optimized_transformer_gives_the_maps_of_the_one_it_was_made_from(tmp_path: Path) -> None:
    plain = transformer()
    fused = optimized(plain, tmp_path)
    assert {"BiasGelu", "SkipLayerNormalization"} & set(own_operators(fused))
    x = images(2, size=(16, 16))
    for method in ("fgcam", "gradcam"):
        found, wanted = (explain(m, x, method=method, layers=["input", "features"]) for m in (fused, plain))
        same(found, wanted, tolerance=1e-4)


def test_a_file_for_one_processor_is_refused_with_the_way_out(tmp_path: Path) -> None:
    fused = optimized(EXPORTED / "resnet_shapes.torchscript.onnx", tmp_path, level="ALL")
    if "com.microsoft.nchwc" not in {n.domain for n in fused.graph.node}:
        pytest.skip("this processor has no such operators")
    with pytest.raises(ModelError, match=r"com\.microsoft\.nchwc\.Conv.*ORT_ENABLE_EXTENDED"):
        load(fused)


def test_an_operator_that_is_not_known_is_refused_by_its_whole_name() -> None:
    nodes = [*small_nodes(logits="scores"), node("Strange", ["scores"], "logits", domain=MS)]
    model = model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"], domains=[MS])
    with pytest.raises(FgcamError, match=r"com\.microsoft\.Strange"):
        explain(model, images())


def test_attributes_that_no_optimizer_writes_are_refused() -> None:
    model, _ = built("Gelu")
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("stripes", 1))
    with pytest.raises(ModelError, match=r"Gelu.*stripes"):
        load(model)


def test_equal_nodes_keep_both_their_names() -> None:
    twice = [node("Gelu", ["logits"], f"g{i}", domain=MS) for i in range(2)]
    nodes = [*small_nodes(), *twice, node("Add", ["g0", "g1"], "output")]
    model = model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["output"], domains=[MS])
    np.testing.assert_allclose(
        run_plainly(load(model).standalone(), images()), run_plainly(model, images()), rtol=1e-5, atol=1e-6
    )
