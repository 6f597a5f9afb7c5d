"""Runs on changed copies in one exported file: the same maps as the runs from outside, on any kind of model."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_nodes, small_weights, written
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator
from token_nets import transformer

import fgcam_onnx
from fgcam_onnx.errors import LayerError, OptionError, UnsupportedOperatorError
from fgcam_onnx.exporter import export
from fgcam_onnx.methods import masked, unrolled

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime import quantization

Array = np.ndarray[Any, Any]
METHODS: dict[str, dict[str, Any]] = {"ablationcam": {}, "iscam": {"samples": 2}, "reciprocam": {}, "scorecam": {}}


def ran(path: Path, feeds: dict[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node]


def off(found: Array, wanted: Array) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def assert_same(model: ModelProto | Path, feeds: dict[str, Array], path: Path, **options: Any) -> list[str]:
    """Hold a file's map against the explainer's; return the file's operators."""
    explainer = fgcam_onnx.Explainer(model, threads=1, **options)
    made = export(explainer, path, target=2)
    onnx.checker.check_model(onnx.load(made.path), full_check=True)
    assert off(ran(made.path, feeds)["explanation"], explainer(feeds, target=2).map) <= 1e-5
    return operators(made.path)


def residual_net(batch: Any = "N") -> ModelProto:
    """Return a net whose layer, ``inner``, has a skip connection beside it, a second input and one without a batch."""
    nodes = [
        node("Conv", ["input", "w0"], "c0"),
        node("Relu", ["c0"], "start"),
        node("Conv", ["start", "w1"], "c1", pads=[1] * 4), node("Relu", ["c1"], "inner"),
        node("Conv", ["inner", "w2"], "c2", pads=[1] * 4), node("Add", ["c2", "start"], "sum"),
        node("Relu", ["sum"], "last"), node("GlobalAveragePool", ["last"], "p"), node("Flatten", ["p"], "f"),
        node("Add", ["f", "extra"], "g"), node("Mul", ["g", "scale"], "h"), node("MatMul", ["h", "v"], "logits"),
    ]  # fmt: skip
    width, rng = 6, np.random.default_rng(1)
    shapes = {"w0": (width, 3, 3, 3), "w1": (width, width, 3, 3), "w2": (width, width, 3, 3), "v": (width, 5)}
    weights = {n: rng.standard_normal(s).astype(np.float32) / 4 for n, s in shapes.items()}
    inputs = {"input": [batch, 3, 12, 10], "extra": [batch, width], "scale": [width]}
    return model_of(nodes, weights, inputs=inputs, outputs=["logits"])


def feeds_of(model: ModelProto, count: int) -> dict[str, Array]:
    width = next(i for i in model.graph.input if i.name == "scale").type.tensor_type.shape.dim[0].dim_value
    rng = np.random.default_rng(4)
    extra, scale = rng.standard_normal((count, width)), rng.uniform(0.5, 2, width)
    return {"input": images(count), "extra": extra.astype(np.float32), "scale": scale.astype(np.float32)}


@pytest.mark.parametrize("limit", [2**24, 1000])
@pytest.mark.parametrize("method", METHODS)
def test_what_crosses_the_cut_stays_each_images_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, limit: int
) -> None:
    """Skip connection, a second input, and one of no batch; all copies at once, and in parts that a Loop takes."""
    monkeypatch.setattr(unrolled, "LIMIT", limit)
    options = {"method": method, "layers": "inner", "input": "input", **METHODS[method]}
    found = assert_same(residual_net(), feeds_of(residual_net(), 3), tmp_path / "e.onnx", **options)
    assert found.count("Loop") == (limit == 1000)


def test_a_copy_of_another_images_features_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: copies interleaved as (n, N) where (N, n) is meant."""
    original = unrolled._repeated

    def wrong(value: Any, count: int, *others: Any) -> Any:
        kept = original(value, count, *others).reshape((-1, count, *value.shape[1:]))
        return kept.transpose((1, 0, *range(2, kept.rank))).reshape((None, *value.shape[1:]))

    monkeypatch.setattr(unrolled, "_repeated", wrong)
    explainer = fgcam_onnx.Explainer(residual_net(), method="reciprocam", layers="inner", input="input")
    feeds = feeds_of(residual_net(), 3)
    found = ran(export(explainer, tmp_path / "e.onnx", target=2).path, feeds)["explanation"]
    assert off(found, explainer(feeds, target=2).map) > 1e-2


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_fixed_batch_takes_one_copy_of_each_image_at_a_time(tmp_path: Path, method: str, batch: int) -> None:
    options = {"method": method, "layers": "inner", "input": "input", **METHODS[method]}
    model = residual_net(batch)
    found = assert_same(model, feeds_of(model, batch), tmp_path / "e.onnx", **options)
    assert found.count("Loop") == 1


@pytest.mark.parametrize("count", [7, 60])
def test_parts_of_unequal_number_leave_nothing_out_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Of the 6 x 5 places of the layer 7 at a time, the last part filled up; and no Loop where all fit."""
    largest = unrolled._largest(fgcam_onnx.surgery.cutting.cut(fgcam_onnx.load(small_cnn()), BASE, output="logits"))
    monkeypatch.setattr(unrolled, "LIMIT", count * largest)
    found = assert_same(small_cnn(), {"input": images(3)}, tmp_path / "e.onnx", method="reciprocam", layers=BASE)
    assert found.count("Loop") == (count == 7)


def dead_and_constant() -> ModelProto:
    """Return the small net, of whose base layer some channels are 0 and one is a constant that no matrix keeps."""
    weights = small_weights()
    weights["layer2.conv.weight"][::3] = 0
    weights["layer2.conv.bias"][::3] = -1
    weights["layer2.conv.bias"][3] = 0.7234567
    return model_of(small_nodes(), weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])


@pytest.mark.parametrize("method", METHODS)
def test_dead_and_constant_channels_weigh_what_they_do_outside(tmp_path: Path, method: str) -> None:
    assert_same(
        dead_and_constant(), {"input": images(3)}, tmp_path / "e.onnx", method=method, layers=BASE, **METHODS[method]
    )


def test_a_constant_channel_that_is_stretched_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: rounding alone would make a mask of it."""
    monkeypatch.setattr(masked, "without_constant", lambda maps, space: maps)
    explainer = fgcam_onnx.Explainer(dead_and_constant(), method="scorecam", layers=BASE)
    found = ran(export(explainer, tmp_path / "e.onnx", target=2).path, {"input": images(3)})["explanation"]
    assert off(found, explainer(images(3), target=2).map) > 1e-4


@pytest.mark.parametrize("layer", ["/blocks.0/Add_1_output_0", "/blocks.1/norm1_output_0"])
@pytest.mark.parametrize("method", METHODS)
def test_tokens_are_masked_where_they_are_outside(tmp_path: Path, method: str, layer: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 12)).astype(np.float32)
    options = {"method": method, "layers": layer, **METHODS[method]}
    assert_same(transformer(), {"input": x}, tmp_path / "e.onnx", **options)


def test_several_rows_of_an_image_that_cross_are_repeated_together(tmp_path: Path) -> None:
    """Windows, four of an image, of one branch cross where the cut lies on the other."""

    def windows(x: str, y: str) -> list[Any]:
        return [
            node("Reshape", [x, "split"], f"{y}s"), node("Transpose", [f"{y}s"], f"{y}t", perm=[0, 1, 3, 2, 4, 5]),
            node("Reshape", [f"{y}t", "join"], y),
        ]  # fmt: skip

    nodes = [
        node("Conv", ["input", "w"], "a"), node("Conv", ["input", "v"], "b"), node("Relu", ["b"], "layer"),
        node("Transpose", ["a"], "at", perm=[0, 2, 3, 1]), node("Transpose", ["layer"], "bt", perm=[0, 2, 3, 1]),
        *windows("at", "aw"), *windows("bt", "bw"), node("Mul", ["aw", "bw"], "c"),
        node("Reshape", ["c", "back"], "d"), node("Softmax", ["d"], "e", axis=1), node("Mul", ["d", "e"], "f"),
        node("ReduceSum", ["f", "one"], "g", keepdims=0), node("MatMul", ["g", "u"], "logits"),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 3, 1, 1), "v": (4, 3, 1, 1), "u": (4, 3)}
    ints = {"split": [-1, 2, 2, 2, 2, 4], "join": [-1, 4, 4], "back": [-1, 16, 4], "one": [1]}
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    weights |= {n: np.array(i, np.int64) for n, i in ints.items()}
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 4, 4]}, outputs=["logits"])
    x = rng.standard_normal((3, 3, 4, 4)).astype(np.float32)
    part = fgcam_onnx.surgery.cutting.cut(fgcam_onnx.load(model), "layer", output="logits")
    assert part.crossing == ("aw",)
    for method in ("reciprocam", "ablationcam"):
        assert_same(model, {"input": x}, tmp_path / "e.onnx", method=method, layers="layer")


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("batch", ["N", 1])
def test_integers_are_changed_by_what_they_stand_for(tmp_path: Path, form: str, batch: Any) -> None:
    """In a Loop, too, before which ONNX Runtime would move a DequantizeLinear on and end the process."""
    x = images(1)
    source, target = written(small_cnn(batch=batch), tmp_path), tmp_path / "quantized.onnx"
    reader = SimpleNamespace(get_next=functools.partial(next, iter([{"input": x}]), None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            str(source), str(target), reader, quant_format=quantization.QuantFormat[form],
            activation_type=quantization.QuantType.QUInt8,
        )  # fmt: skip
    for method in ("reciprocam", "ablationcam", "scorecam"):
        found = assert_same(target, {"input": x}, tmp_path / "e.onnx", method=method)
        assert found.count("Loop") == (batch == 1)


@pytest.mark.parametrize("limit", [2**24, 500])
@pytest.mark.parametrize("method", METHODS)
def test_the_reference_evaluator_gives_the_same_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, limit: int
) -> None:
    monkeypatch.setattr(unrolled, "LIMIT", limit)
    explainer = fgcam_onnx.Explainer(small_cnn(), method=method, layers=BASE, **METHODS[method])
    made = export(explainer, tmp_path / "e.onnx", resize="input")
    plain = export(explainer, tmp_path / "f.onnx")
    for file in (made, plain):
        evaluator = ReferenceEvaluator(onnx.load(file.path))
        found = dict(zip(evaluator.output_names, evaluator.run(None, {"input": images(2)}), strict=True))
        assert off(found["explanation"], ran(file.path, {"input": images(2)})["explanation"]) <= 1e-5
    assert off(found["explanation"], explainer(images(2)).map) <= 1e-5


@pytest.mark.parametrize("batch", ["N", 2, 1])
def test_a_dynamic_quantizer_behind_the_layer_needs_a_batch_of_one(tmp_path: Path, batch: Any) -> None:
    """Then each copy has a scale of its own, as outside."""
    nodes = small_nodes()
    nodes = [
        *nodes[:-2], node("DynamicQuantizeLinear", ["/gap/GlobalAveragePool_output_0"], "q", "s", "z"),
        node("DequantizeLinear", ["q", "s", "z"], "r"), node("Flatten", ["r"], nodes[-2].output[0]), nodes[-1],
    ]  # fmt: skip
    model = model_of(nodes, small_weights(), inputs={"input": [batch, 3, 12, 10]}, outputs=["logits"])
    if batch == 1:
        assert_same(model, {"input": images(1)}, tmp_path / "e.onnx", method="reciprocam", layers=BASE)
        return
    with pytest.raises(OptionError, match=r"one scale for a whole batch.*statically"):
        export(model, tmp_path / "e.onnx", method="reciprocam", layers=BASE)
    assert not list(tmp_path.iterdir())


def test_a_loop_behind_the_layer_is_refused(tmp_path: Path) -> None:
    value = functools.partial(helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT, shape=["N", 5])
    branches = {
        name: helper.make_graph([node(op, ["plain"], name)], name, [], [value(name)])
        for name, op in (("then_branch", "Relu"), ("else_branch", "Abs"))
    }
    nodes = [
        *small_nodes(logits="plain"), node("ReduceMax", ["plain"], "most", keepdims=0),
        node("Greater", ["most", "zero"], "chosen"), node("If", ["chosen"], "logits", **branches),
    ]  # fmt: skip
    weights = small_weights() | {"zero": np.array(0, np.float32)}
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    with pytest.raises((UnsupportedOperatorError, LayerError), match="If"):
        export(model, tmp_path / "e.onnx", method="reciprocam", layers=BASE)


REAL = ("mobilenet_v2_fp32_dequant", "squeezenet1.1_fp32_rebuilt", "resnet20_onnc", "mobilenetv2-12-qdq")


@pytest.mark.parametrize("name", REAL)
def test_real_models_have_the_explainers_map(assets: Path, tmp_path: Path, name: str) -> None:
    explainer = fgcam_onnx.Explainer(assets / "models" / f"{name}.onnx", method="reciprocam", threads=1)
    spec = explainer.model.inputs[0]
    count = spec.shape[0] if isinstance(spec.shape[0], int) else 2
    x = np.random.default_rng(0).uniform(-2, 2, (count, *spec.shape[1:])).astype(np.float32)
    made = export(explainer, tmp_path / "e.onnx")
    assert off(ran(made.path, {spec.name: x})["explanation"], explainer(x).map) <= 1e-5
