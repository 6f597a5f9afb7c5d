"""Products of integers: which a processor may cut off, exact arithmetic on every processor, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from nets import images, node, small_cnn
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import fgcam_onnx
from fgcam_onnx import Explainer, arithmetic
from fgcam_onnx.errors import OptionError
from fgcam_onnx.runtime import Session, saturates
from fgcam_onnx.surgery.products import overflowing, overflowing_program, products_of, with_exact_products

MS = "com.microsoft"
DEPTH, COUNT = 64, 32
Array = NDArray[Any]
KINDS = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.float32: TensorProto.FLOAT}

FORMS = {
    "ConvInteger uint8 int8": False,
    "Conv int8 int8": True,
    "Conv uint8 int8": True,
    "Conv uint8 int8 depthwise": False,
    "Conv uint8 int8 reduced": False,
    "Conv uint8 uint8": False,
    "Gemm int8 int8": True,
    "Gemm uint8 int8": True,
    "MatMul int8 int8": True,
    "MatMul uint8 int8": True,
    "MatMul uint8 uint8": False,
    "MatMulInteger int8 int8": False,
    "MatMulInteger uint8 int8": True,
    "MatMulInteger uint8 int8 reduced": False,
    "MatMulInteger uint8 uint8": False,
    "MatMulIntegerToFloat uint8 int8": True,
    "QGemm int8 int8": False,
    "QGemm uint8 int8": True,
    "QLinearConv int8 int8": False,
    "QLinearConv uint8 int8": True,
    "QLinearConv uint8 int8 depthwise": False,
    "QLinearMatMul int8 int8": False,
    "QLinearMatMul uint8 int8": True,
}
"""An operator (of floats: between quantizers), left and right type; whether a processor may cut its sums off."""


def built(form: str) -> tuple[ModelProto, dict[str, Array], Array, float]:
    """Return a model of one product, its input, its exact output, and the output's step."""
    op, left, right, *more = form.split()
    conv, depthwise, bare = "Conv" in op, "depthwise" in more, "Integer" in op
    x_type, w_type = np.dtype(left).type, np.dtype(right).type
    rng = np.random.default_rng(5)
    low, high = np.iinfo(w_type).min, np.iinfo(w_type).max
    ends = (-64, 63) if "reduced" in more else (low, high)
    shape = ((DEPTH, 1, 3, 3) if depthwise else (COUNT, DEPTH, 1, 1)) if conv else (DEPTH, COUNT)
    w = rng.choice(ends, p=(0.25, 0.75), size=shape).astype(w_type)
    size = (1, DEPTH, 5, 5) if conv else (8, DEPTH)
    x = rng.choice((np.iinfo(x_type).min, np.iinfo(x_type).max), p=(0.25, 0.75), size=size).astype(x_type)
    zx, zw = (t(128 if t is np.uint8 and not bare else 0) for t in (x_type, w_type))
    real_x, real_w = x.astype(np.float64) - zx, w.astype(np.float64) - zw
    if depthwise:
        windows = np.lib.stride_tricks.sliding_window_view(real_x, (3, 3), axis=(2, 3))
        exact = np.einsum("nchwij,cij->nchw", windows, real_w[:, 0])
    else:
        exact = np.einsum("nchw,oc->nohw", real_x, real_w[:, :, 0, 0]) if conv else real_x @ real_w
    step = np.float32(1 if bare else np.abs(exact).max() / 100)
    weights = {"one": np.float32(1), "step": step, "zx": zx, "w": w, "zw": zw}
    attrs = {"group": DEPTH} if depthwise else {}
    quantized = ["x", "one", "zx", "w", "one", "zw", *([""] if op == "QGemm" else []), "step", "zx"]
    if op == "MatMulIntegerToFloat":
        nodes = [node(op, ["x", "w", "one", "one"], "y", domain=MS)]
    elif bare:
        nodes = [node(op, ["x", "w"], "i"), node("Cast", ["i"], "y", to=TensorProto.FLOAT)]
    elif op.startswith("Q"):
        domain = MS if op == "QGemm" else ""
        nodes = [node(op, quantized, "i", domain=domain, **attrs), node("DequantizeLinear", ["i", "step", "zx"], "y")]
    else:
        nodes = [
            node("QuantizeLinear", ["x", "one", "zx"], "q"),
            node("DequantizeLinear", ["q", "one", "zx"], "a"),
            node("DequantizeLinear", ["w", "one", "zw"], "b"),
            node(op, ["a", "b"], "c", **attrs),
            node("QuantizeLinear", ["c", "step", "zx"], "i"),
            node("DequantizeLinear", ["i", "step", "zx"], "y"),
        ]
        x = real_x.astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", KINDS[x.dtype.type], x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, exact.shape)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), {"x": x}, exact, float(step)


def off(model: fgcam_onnx.graph.model.Model, feeds: dict[str, Array], exact: Array, step: float) -> float:
    """Return how many steps of the output the product is off; rounding takes half a step."""
    return float(np.abs(Session(model, threads=1).run(feeds)["y"] - exact).max() / step)


@pytest.mark.parametrize(("form", "cut"), FORMS.items())
def test_sums_are_cut_off_where_it_is_said_and_this_processor_does_it(form: str, cut: bool) -> None:
    proto, feeds, exact, step = built(form)
    model = fgcam_onnx.load(proto)
    assert [p.overflows for p in products_of(model)] == [cut]
    found = off(model, feeds, exact, step)
    if cut and saturates():
        assert found > 10
    else:
        assert found <= 0.501


@pytest.mark.parametrize("form", [f for f, cut in FORMS.items() if cut])
def test_exact_products_are_exact_on_any_processor(form: str) -> None:
    proto, feeds, exact, step = built(form)
    model = with_exact_products(fgcam_onnx.load(proto))
    assert products_of(model)
    assert not overflowing(model)
    assert off(model, feeds, exact, step) <= 0.501
    assert not any(a.dtype == np.int8 and a.size > 1 for a in model.constants.values())


def test_the_probe_overflows_and_knows_what_is_exact() -> None:
    program, feeds, exact = overflowing_program()
    w = numpy_helper.to_array(onnx.load_from_string(program).graph.initializer[0]).astype(np.int64)
    x = feeds["x"].astype(np.int64)
    np.testing.assert_array_equal(x @ w, np.full((8, 32), exact))
    pairs = x[:, ::2, None] * w[None, ::2] + x[:, 1::2, None] * w[None, 1::2]
    assert (np.minimum(pairs, 32767).sum(1) < exact).all()


def test_a_file_whose_weights_fit_seven_bits_stays_as_it_is() -> None:
    model = fgcam_onnx.load(built("Conv uint8 int8 reduced")[0])
    assert with_exact_products(model) is model


def test_zero_points_that_are_left_out_and_scales_of_channels_are_followed() -> None:
    proto, feeds, exact, step = built("Conv uint8 int8")
    dequantizer = next(n for n in proto.graph.node if n.output[0] == "b")
    del dequantizer.input[2]
    dequantizer.input[1] = "ones"
    dequantizer.attribute.append(helper.make_attribute("axis", 0))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(COUNT, np.float32), "ones"))
    model = with_exact_products(fgcam_onnx.load(proto))
    assert off(model, feeds, exact, step) <= 0.501


def test_an_operand_that_is_no_constant_cannot_be_made_exact() -> None:
    proto, *_ = built("MatMulInteger uint8 int8")
    del proto.graph.initializer[:]
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.INT8, (DEPTH, COUNT)))
    model = fgcam_onnx.load(proto)
    assert [p.overflows for p in products_of(model)] == [True]
    with pytest.raises(OptionError, match=r"MatMulInteger \(node 'i'\).*no constants"):
        with_exact_products(model)


def test_a_product_inside_of_a_loop_is_found_and_cannot_be_made_exact() -> None:
    proto, *_ = built("MatMulInteger uint8 int8")
    inner, cast = proto.graph.node
    body = helper.make_graph(
        [inner, cast, helper.make_node("Identity", ["going"], ["goes"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("going", TensorProto.BOOL, ()),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, (8, COUNT)),
        ],
    )
    loop = node("Loop", ["two", ""], "turns", body=body)
    proto.graph.node.extend([loop, node("ReduceSum", ["turns", "first"], "sum", keepdims=0)])
    del proto.graph.node[:2]
    proto.graph.input.append(helper.make_tensor_value_info("two", TensorProto.INT64, ()))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    proto.graph.output[0].name = "sum"
    model = fgcam_onnx.load(proto)
    assert [p.overflows for p in products_of(model)] == [True]
    with pytest.raises(OptionError, match="MatMulInteger"):
        with_exact_products(model)


def test_an_operator_that_is_not_known_is_not_called_exact() -> None:
    proto, *_ = built("MatMulIntegerToFloat uint8 int8")
    proto.graph.node[0].op_type = "QAttentionOfOurs"
    model = fgcam_onnx.load(proto)
    assert [p.node for p in overflowing(model)] == ["QAttentionOfOurs (node 'y')"]
    with pytest.raises(OptionError, match="in a way that is not known"):
        with_exact_products(model)


# ---- what is asked, and what is told


def quantized_cnn(path: Path) -> Path:
    """Write the small net with its last product on integers: uint8 positions and int8 weights that overflow."""
    proto = small_cnn()
    last = proto.graph.node[-1]
    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    w = weights["fc.weight"].T.copy()
    scale = np.float32(np.abs(w).max() / 127)
    added = {"fc.q": np.round(w / scale).astype(np.int8), "fc.scale": scale, "fc.zero": np.int8(0)}
    features = last.input[0]
    nodes = [
        node("DynamicQuantizeLinear", [features], "fq", "fs", "fz"),
        node("MatMulInteger", ["fq", "fc.q", "fz", "fc.zero"], "fi"),
        node("Cast", ["fi"], "ff", to=TensorProto.FLOAT),
        node("Mul", ["fs", "fc.scale"], "unit"),
        node("Mul", ["ff", "unit"], "scaled"),
        node("Add", ["scaled", "fc.bias"], "logits"),
    ]
    del proto.graph.node[-1]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in added.items())
    onnx.save(proto, path)
    return path


@pytest.fixture(params=[False, True], ids=["exact kernels", "saturating kernels"])
def pretended(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let this processor's kernels be of either kind, as far as the probe tells."""
    monkeypatch.setattr(arithmetic, "saturates", lambda: request.param)
    return bool(request.param)


def test_an_explanation_says_which_arithmetic_it_was_made_with(tmp_path: Path, pretended: bool) -> None:
    path, x = quantized_cnn(tmp_path / "q.onnx"), images(1)
    deployed, exact = (Explainer(path, int8=a, method="gradcam")(x) for a in ("deployed", "exact"))
    assert deployed.int8 == ("saturating" if pretended else "exact")
    assert exact.int8 == exact.summary()["int8"] == "exact"
    plain = Explainer(small_cnn(), method="gradcam")(x)
    assert plain.int8 is None
    assert "int8" not in plain.summary()


def test_the_same_integers_give_the_same_explanation_where_nothing_overflows(tmp_path: Path) -> None:
    """The weights of this net are 16 deep, and its positions small: every kernel is exact."""
    proto = onnx.load(quantized_cnn(tmp_path / "q.onnx"))
    stored = next(t for t in proto.graph.initializer if t.name == "fc.q")
    halved = numpy_helper.to_array(stored) // 2
    halved[0, 0] = 65
    stored.CopyFrom(numpy_helper.from_array(halved, "fc.q"))
    x = images(1)
    a, b = (Explainer(fgcam_onnx.load(proto), int8=i, threads=1)(x) for i in ("deployed", "exact"))
    assert len(overflowing(fgcam_onnx.load(proto))) == 1
    np.testing.assert_allclose(a.scores, b.scores, rtol=0, atol=1e-6 * np.abs(b.scores).max())
    np.testing.assert_allclose(a.map, b.map, rtol=0, atol=1e-6 * np.abs(b.map).max())


def test_an_arithmetic_without_effect_or_unknown_is_refused() -> None:
    with pytest.raises(OptionError, match="no products of integers"):
        Explainer(small_cnn(), int8="exact")
    with pytest.raises(OptionError, match="int8 'quick'"):
        Explainer(small_cnn(), int8="quick")


def test_the_command_line_says_in_a_line_that_the_processor_saturates(
    fgcam: Any, bundled: Path, tmp_path: Path, pretended: bool
) -> None:
    path, picture = quantized_cnn(tmp_path / "q.onnx"), bundled / "pictures" / "star.png"
    given = ("explain", path, picture, "--preprocess", "unit", "--method", "gradcam")
    ran = fgcam(*given, "-o", "as it runs")
    line = "1 of 1 products of integers saturate on this processor"
    assert (ran.code, line in ran.err, "--int8 exact" in ran.err) == (0, pretended, pretended)
    told = json.loads(Path("as it runs/explanations.json").read_text())
    assert told["int8"] == ("saturating" if pretended else "exact")
    ran = fgcam(*given, "--int8", "exact", "-o", "exact")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(Path("exact/explanations.json").read_text())["int8"] == "exact"
    sheet = fgcam(
        "sweep", path, picture, "--preprocess", "unit", "--method", "gradcam", "--layer", "input", "-o", "s.png"
    )
    assert line in sheet.err or not pretended
    shown = fgcam("inspect", path).out
    assert (line in shown) == pretended
    assert ("can saturate on x86 processors without VNNI" in shown) != pretended
    report = json.loads(fgcam("inspect", path, "--json").out)["int8"]
    assert (report["products"], report["overflowing"], report["here"]) == (1, 1, told["int8"])


def test_a_float_model_has_no_arithmetic_to_tell(fgcam: Any, bundled: Path) -> None:
    model, picture = bundled / "vgg_shapes.dynamo.onnx", bundled / "pictures" / "star.png"
    assert json.loads(fgcam("inspect", model, "--json").out)["int8"] is None
    assert "int8:" not in fgcam("inspect", model).out
    ran = fgcam("explain", model, picture, "--int8", "exact")
    assert (ran.code, "no products of integers" in ran.err) == (1, True)
    fgcam("explain", model, picture, "--method", "gradcam", "-o", "plain")
    assert json.loads(Path("plain/explanations.json").read_text())["int8"] is None


def test_an_exported_file_is_exact_by_itself_and_says_so(fgcam: Any, tmp_path: Path) -> None:
    path, x = quantized_cnn(tmp_path / "q.onnx"), images(1)
    told = {}
    for int8 in ("deployed", "exact"):
        out = tmp_path / f"{int8}.onnx"
        assert fgcam("export", path, "-o", out, "--int8", int8).code == 0
        told[int8] = {p.key: p.value for p in onnx.load(out).metadata_props}["fgcam.int8"]
        assert f"int8 {int8}" in fgcam("inspect", out).out
    assert told == {"deployed": "deployed", "exact": "exact"}
    assert len(overflowing(fgcam_onnx.load(tmp_path / "deployed.onnx"))) == 1
    assert not overflowing(fgcam_onnx.load(tmp_path / "exact.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "exact.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["explanation"], {"input": x})
    expected = Explainer(path, int8="exact")(x).map
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    made = fgcam_onnx.export(small_cnn(), tmp_path / "plain.onnx")
    assert made.metadata["int8"] == ""
