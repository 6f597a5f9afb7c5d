"""Quantized models: the walk sees their float meaning, the forward pass stays the deployed integer one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fgcam_onnx
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.imaging import preprocess_from
from fgcam_onnx.program import append_gradients
from fgcam_onnx.runtime import Session

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime import quantization

NETS = ("vgg_shapes", "resnet_shapes")
Array = np.ndarray[Any, Any]


def prepared(bundled: Path) -> Array:
    preprocess = preprocess_from(bundled / "vgg_shapes.dynamo.json").bound(("N", 3, 96, 96), np.float32)
    files = sorted((bundled / "pictures").glob("*.png"))
    return np.concatenate([preprocess(Image.open(f).convert("RGB")) for f in files])


class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds the pictures one by one, as onnxruntime's calibration wants them."""

    def __init__(self, x: Array) -> None:
        self._left: Iterator[dict[str, Array]] = iter({"input": p[None]} for p in x)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._left, None)


def _static(form: quantization.QuantFormat, **options: Any) -> Callable[[Path, Path, Array], None]:
    def quantize(source: Path, target: Path, x: Array) -> None:
        quantization.quantize_static(str(source), str(target), Pictures(x), quant_format=form, **options)

    return quantize


def _dynamic(source: Path, target: Path, x: Array) -> None:
    quantization.quantize_dynamic(str(source), str(target))


FORMS: dict[str, Callable[[Path, Path, Array], None]] = {
    "QDQ": _static(quantization.QuantFormat.QDQ),
    "QDQ per channel": _static(
        quantization.QuantFormat.QDQ, per_channel=True, activation_type=quantization.QuantType.QUInt8
    ),
    "QOperator": _static(quantization.QuantFormat.QOperator, activation_type=quantization.QuantType.QUInt8),
    "dynamic": _dynamic,
}


@pytest.fixture(scope="module")
def quantized(
    bundled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, Path, Array]]:
    """Make (float model, quantized model, pictures), once for each net and form."""
    folder = tmp_path_factory.mktemp("quantized")
    x = prepared(bundled)

    def make(net: str, form: str) -> tuple[Path, Path, Array]:
        source = bundled / f"{net}.torchscript.onnx"
        target = folder / f"{net}.{form.replace(' ', '_')}.onnx"
        if not target.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                FORMS[form](source, target, x)
        return source, target, x

    return make


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["gradcam", "fgcam"])
def test_maps_of_a_quantized_net_agree_with_the_float_net(
    quantized: Callable[[str, str], tuple[Path, Path, Array]], net: str, form: str, method: str
) -> None:
    source, target, x = quantized(net, form)
    layer = "input" if method == "fgcam" else None
    found = []
    for path in (source, target):
        explainer = fgcam_onnx.Explainer(path, method=method, layers=layer or deepest(path))
        found.append(explainer(x))
    same = found[0].target == found[1].target
    assert same.sum() >= len(x) - 1
    each = [correlation(found[0].map[n], found[1].map[n]) for n in np.flatnonzero(same)]
    assert np.mean(each) >= 0.95, each


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantizers_of_what_cannot_be_negative_stop_nothing(
    quantized: Callable[[str, str], tuple[Path, Path, Array]], net: str, form: str
) -> None:
    """A QDQ file has quantizers behind MaxPool, Flatten and Relu, which cut nothing off; a QOperator file has none."""
    source, target, x = quantized(net, form)
    own = fgcam_onnx.Explainer(source, method="gradcam")(x)
    other = fgcam_onnx.Explainer(target, method="gradcam")(x, target=own.target)
    assert min(correlation(a, b) for a, b in zip(own.map, other.map, strict=True)) >= 0.998


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_softmax_that_is_quantized_too_is_looked_through(bundled: Path, tmp_path: Path, form: str) -> None:
    model = onnx.load(str(bundled / "vgg_shapes.torchscript.onnx"))
    model.graph.node.append(helper.make_node("Softmax", [model.graph.output[0].name], ["sure"], "/sure", axis=-1))
    model.graph.output[0].name = "sure"
    onnx.save(model, str(tmp_path / "float.onnx"))
    x = prepared(bundled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FORMS[form](tmp_path / "float.onnx", tmp_path / "int8.onnx", x)
    own, other = (fgcam_onnx.Explainer(tmp_path / f"{n}.onnx", method="gradcam") for n in ("float", "int8"))
    assert other.score.skipped == {"QDQ": "Softmax", "QOperator": "QLinearSoftmax"}[form]
    assert other.head.end == "softmax"
    found = own(x)
    maps = other(x, target=found.target).map
    assert min(correlation(a, b) for a, b in zip(found.map, maps, strict=True)) >= 0.998


def deepest(path: Path) -> str:
    from fgcam_onnx.graph.score import find_score
    from fgcam_onnx.layers.layers import default_base

    model = fgcam_onnx.load(path)
    return default_base(model, logits=find_score(model).logits).name


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("form", ["QOperator", "QDQ", "dynamic"])
def test_the_logits_are_those_of_the_deployed_model(
    quantized: Callable[[str, str], tuple[Path, Path, Array]], net: str, form: str
) -> None:
    _, target, x = quantized(net, form)
    explained = fgcam_onnx.Explainer(target, batch=1)(x[:3])
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    deployed = np.concatenate([session.run(None, {"input": p[None]})[0] for p in x[:3]])
    scale = np.abs(deployed).max()
    np.testing.assert_allclose(explained.scores / scale, deployed / scale, rtol=0, atol=QUANTUM[form])


QUANTUM = {"QOperator": 0, "QDQ": 0.02, "dynamic": 1e-5}
"""QDQ graphs are fused by the runtime where it can; a layer that a map is read at may round differently."""


def chain(seed: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return a QLinearConv, a MaxPool on integers and a QLinearConv, uint8 activations, int8 weights per channel."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {
        "sx": np.float32(0.02), "zx": np.uint8(120),
        "w1": rng.integers(-127, 128, (6, 3, 3, 3), np.int8), "sw1": rng.uniform(0.01, 0.02, 6).astype(np.float32),
        "zw1": np.zeros(6, np.int8), "s1": np.float32(0.05), "z1": np.uint8(0),
        "b1": rng.integers(-500, 500, 6, np.int32),
        "w2": rng.integers(-127, 128, (4, 6, 1, 1), np.int8), "sw2": np.float32(0.01), "zw2": np.int8(3),
        "s2": np.float32(0.2), "z2": np.uint8(100),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node(
            "QLinearConv", ["xq", "sx", "zx", "w1", "sw1", "zw1", "s1", "z1", "b1"], ["c1"], pads=[1, 1, 1, 1]
        ),
        helper.make_node("MaxPool", ["c1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QLinearConv", ["p1", "s1", "z1", "w2", "sw2", "zw2", "s2", "z2"], ["c2"]),
        helper.make_node("DequantizeLinear", ["c2", "s2", "z2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 3, 3])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), arrays


def test_the_straight_through_gradient_is_that_of_the_dequantized_net_at_the_same_activations() -> None:
    """Against plain loops over the dequantized weights, stopped where the deployed integers stand for 0."""
    proto, a = chain(5)
    x = np.random.default_rng(6).uniform(-2.3, 2.6, (1, 3, 6, 6)).astype(np.float32)
    g = np.random.default_rng(7).standard_normal((1, 4, 3, 3)).astype(np.float32)
    model = fgcam_onnx.load(proto)
    emitter = Emitter(model)
    seed = emitter.input("g", np.float32, (1, 4, 3, 3))
    emitter.output("gx", append_gradients(emitter, ["x"], output="y", seed=seed)["x"])
    for name in ("c1", "p1", "c2"):
        emitter.output(name, emitter.value(name))
    found = Session(emitter.build()).run({"x": x, "g": g})
    g2 = g[0].astype(np.float64)
    w2 = (a["w2"].astype(np.float64) - a["zw2"]) * a["sw2"]
    gp = np.einsum("ohw,oi->ihw", g2, w2[:, :, 0, 0])
    gc = np.zeros((6, 6, 6))
    for c, i, j in np.ndindex(6, 3, 3):
        window = found["c1"][0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        di, dj = np.unravel_index(window.argmax(), (2, 2))
        gc[c, 2 * i + di, 2 * j + dj] += gp[c, i, j]
    stopped = found["c1"][0] == 0
    gc[stopped] = 0
    w1 = a["w1"].astype(np.float64) * a["sw1"][:, None, None, None]
    padded = np.zeros((3, 8, 8))
    for o, i, j in np.ndindex(6, 6, 6):
        padded[:, i : i + 3, j : j + 3] += gc[o, i, j] * w1[o]
    expected = padded[:, 1:-1, 1:-1]
    assert stopped.any()
    assert not stopped.all()
    np.testing.assert_allclose(found["gx"][0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["mobilenet_v2_dynint8_edge_bench", "shufflenet-v2-12-int8"])
def test_published_int8_files_agree_with_their_float_twins(assets: Path, name: str) -> None:
    """Under exact arithmetic, which their float twins and every processor have in common."""
    import json

    import real_models

    twins = {
        "mobilenet_v2_dynint8_edge_bench": "mobilenet_v2_fp32_dequant",
        "shufflenet-v2-12-int8": "shufflenet_v2_fp32_dequant",
    }
    rows = {r["file"]: r for r in json.loads((assets / "models" / "models.json").read_text())}
    row = rows[f"{name}.onnx"]
    models = [fgcam_onnx.load(assets / "models" / f"{n}.onnx") for n in (name, twins[name])]
    preprocess = preprocess_from(real_models.specification(row)).bound((1, 3, 224, 224), np.float32)
    explainers = [fgcam_onnx.Explainer(models[0], int8="exact"), fgcam_onnx.Explainer(models[1])]
    each = []
    for photo in real_models.photographs(assets, "ImageNet-1k", 6):
        x = preprocess(Image.open(photo.path).convert("RGB"))
        a, b = (explainer(x) for explainer in explainers)
        if a.target[0] == b.target[0]:
            each.append(correlation(a.map, b.map))
    assert len(each) >= 3
    assert np.mean(each) >= 0.9, each


def test_without_saturation_the_gradient_passes_where_integers_stand_for_0() -> None:
    proto, _ = chain(5)
    x = np.random.default_rng(6).uniform(-2.3, 2.6, (1, 3, 6, 6)).astype(np.float32)
    model = fgcam_onnx.load(proto)
    found = {}
    for saturation in (True, False):
        emitter = Emitter(model)
        seed = emitter.input("g", np.float32, (1, 4, 3, 3))
        gradients = append_gradients(emitter, ["c1"], output="y", seed=seed, saturation=saturation)
        inner = append_gradients(emitter, ["x"], output="y", seed=seed, saturation=saturation)
        emitter.output("at c1", gradients["c1"])
        emitter.output("at x", inner["x"])
        found[saturation] = Session(emitter.build()).run({"x": x, "g": np.ones((1, 4, 3, 3), np.float32)})
    np.testing.assert_array_equal(found[True]["at c1"], found[False]["at c1"])
    assert np.abs(found[True]["at x"] - found[False]["at x"]).max() > 0


@pytest.mark.parametrize("end", ["Softmax", "Sigmoid"])
def test_the_logits_are_found_before_a_softmax_that_is_quantized(end: str) -> None:
    from fgcam_onnx.graph.score import find_score

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node(end, ["logits"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = {"w": np.eye(4, dtype=np.float32), "s": np.float32(1 / 255), "z": np.uint8(0)}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    model = fgcam_onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    score = find_score(model)
    assert (score.output, score.logits, score.skipped) == ("y", "logits", end)
    assert find_score(model, before_softmax=False).logits == "y"
