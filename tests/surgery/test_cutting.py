"""A model cut at a layer: trunk and head together give what the whole gives, and each holds only its part."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_nodes, small_weights, written
from numpy.typing import NDArray

import fgcam_onnx
from fgcam_onnx.errors import LayerError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.model import Model
from fgcam_onnx.layers.channelwise import last_with_channels
from fgcam_onnx.layers.layers import candidate_layers
from fgcam_onnx.runtime import Session
from fgcam_onnx.surgery.cutting import Cut, cut, joined
from fgcam_onnx.surgery.products import with_exact_products

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime import quantization

GAP = "/gap/GlobalAveragePool_output_0"
Feeds = dict[str, NDArray[Any]]


def both_parts(parts: Cut, feeds: Feeds) -> NDArray[Any]:
    trunk = Session(parts.trunk).run(feeds) if parts.trunk.outputs else {}
    (found,) = Session(parts.head).run({**feeds, **trunk}).values()
    return found


def every_cut(model: Model, output: str) -> Iterator[Cut]:
    for layer in candidate_layers(model, logits=output):
        if layer.name != output:
            yield cut(model, layer.name, output=output)


def assert_parts_give_the_whole(model: Model, feeds: Feeds, *, atol: float, least: int) -> list[Cut]:
    (output,) = (o.name for o in model.outputs)
    whole = Session(model).run(feeds)[output]
    cuts = list(every_cut(model, output))
    assert len(cuts) >= least
    for parts in cuts:
        np.testing.assert_allclose(
            both_parts(parts, feeds), whole, rtol=0, atol=atol * np.abs(whole).max(), err_msg=parts.at
        )
    return cuts


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_trunk_and_head_give_what_the_model_gives_at_every_layer(batch: str | int) -> None:
    count = batch if isinstance(batch, int) else 3
    model = fgcam_onnx.load(small_cnn(batch=batch))
    cuts = assert_parts_give_the_whole(model, {"input": images(count)}, atol=1e-6, least=6)
    assert all(not parts.crossing for parts in cuts)


@pytest.mark.parametrize(
    "net", ["resnet_shapes.dynamo", "resnet_shapes.torchscript", "vgg_shapes.keras", "vgg_shapes.jax"]
)
def test_the_bundled_nets_can_be_cut_at_every_layer(bundled: Path, net: str) -> None:
    model = fgcam_onnx.load(bundled / f"{net}.onnx")
    shape = [d if isinstance(d, int) else 2 for d in model.inputs[0].shape]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    cuts = assert_parts_give_the_whole(model, {model.inputs[0].name: x}, atol=1e-6, least=18)
    assert any(parts.crossing for parts in cuts) == net.startswith("resnet")


def test_the_other_half_of_what_makes_the_layer_crosses_too() -> None:
    nodes = small_nodes()
    nodes[5].input[0] = "whole"
    halves = [
        node("Split", [BASE], "left", "right", axis=1, num_outputs=2),
        node("Concat", ["right", "left"], "whole", axis=1),
    ]
    proto = model_of(
        [*nodes[:5], *halves, *nodes[5:]], small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"]
    )
    model = fgcam_onnx.load(proto)
    parts = cut(model, "left", output="logits")
    assert parts.crossing == ("right",)
    feeds = {"input": images(3)}
    np.testing.assert_allclose(both_parts(parts, feeds), Session(model).run(feeds)["logits"], rtol=1e-6, atol=1e-6)


def test_a_wrong_tensor_at_the_cut_is_seen() -> None:
    """Negative control: the head does read what it is given."""
    model = fgcam_onnx.load(small_cnn())
    x = images()
    parts = cut(model, BASE, output="logits")
    features = Session(parts.trunk).run({"input": x})[BASE]
    (found,) = Session(parts.head).run({BASE: features * 1.01}).values()
    assert np.abs(found - Session(model).run({"input": x})["logits"]).max() > 1e-3


def test_the_head_holds_only_its_own_operators_and_weights() -> None:
    parts = cut(fgcam_onnx.load(small_cnn()), BASE, output="logits")
    assert [n.op_type for n in parts.head.nodes] == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert set(parts.head.constants) == {"fc.weight", "fc.bias"}
    assert [n.op_type for n in parts.trunk.nodes] == ["Conv", "Relu", "MaxPool", "Conv", "Relu"]


def test_a_skip_connection_and_a_second_input_cross_the_cut() -> None:
    nodes = small_nodes(logits="plain")
    nodes += [
        node("GlobalMaxPool", ["/pool/MaxPool_output_0"], "skip"),
        node("ReduceMean", ["skip"], "mean", keepdims=0, axes=[1, 2, 3]),
        node("Unsqueeze", ["mean", "one"], "column"),
        node("Add", ["plain", "column"], "summed"),
        node("Mul", ["summed", "factor"], "logits"),
    ]
    weights = small_weights() | {"one": np.array([1], np.int64)}
    proto = model_of(
        nodes, weights, inputs={"input": ["N", 3, 12, 10], "factor": ["N", 1]}, outputs=["logits"], opset=17
    )
    model = fgcam_onnx.load(proto)
    parts = cut(model, BASE, output="logits")
    assert len(parts.crossing) == 2
    assert "factor" in parts.crossing
    feeds = {"input": images(3), "factor": np.array([[1], [2], [3]], np.float32)}
    np.testing.assert_allclose(both_parts(parts, feeds), Session(model).run(feeds)["logits"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 2), (1, 3), (0, None), (-1, None)])
def test_a_shape_that_the_head_asks_of_the_trunk_is_taken_from_the_cut(start: int, end: int | None) -> None:
    """The shape of the input at the end, as some exporters write it, does not make the input cross."""
    limits = {"start": start} | ({"end": end} if end is not None else {})
    nodes = [
        *small_nodes(logits="plain"),
        node("Shape", ["input"], "asked", **limits),
        node("Slice", ["asked", "zero", "one"], "first"),
        node("Cast", ["first"], "number", to=onnx.TensorProto.FLOAT),
        node("Add", ["plain", "number"], "logits"),
    ]
    weights = small_weights() | {"zero": np.array([0], np.int64), "one": np.array([1], np.int64)}
    model = fgcam_onnx.load(model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"]))
    parts = cut(model, BASE, output="logits")
    assert parts.crossing == ()
    feeds = {"input": images(3)}
    np.testing.assert_allclose(both_parts(parts, feeds), Session(model).run(feeds)["logits"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_an_integer_model_is_cut_at_stored_integers_and_at_real_values(form: str, tmp_path: Path) -> None:
    """Under exact arithmetic: a runtime fuses quantizers into products where nothing is cut, and those may saturate."""

    class Given(quantization.CalibrationDataReader):  # type: ignore[misc]
        left = iter([{"input": images(4)}])

        def get_next(self) -> Feeds | None:
            return next(self.left, None)

    source, target = written(small_cnn(), tmp_path), tmp_path / "quantized.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            str(source), str(target), Given(), quant_format=quantization.QuantFormat[form],
            activation_type=quantization.QuantType.QUInt8,
        )  # fmt: skip
    model = with_exact_products(fgcam_onnx.load(target))
    cuts = assert_parts_give_the_whole(model, {"input": images(3)}, atol=1e-6, least=4)
    kinds = {Emitter(model).dtype(parts.at).kind for parts in cuts}
    assert "u" in kinds
    assert "f" in kinds or form == "QOperator"


def test_joined_parts_are_the_model_again() -> None:
    model = fgcam_onnx.load(small_cnn())
    parts = cut(model, "/pool/MaxPool_output_0", output="logits")
    again = joined(parts.trunk, parts.head)
    assert [i.name for i in again.inputs] == ["input"]
    assert [n.op_type for n in again.nodes] == [n.op_type for n in model.nodes]
    feeds = {"input": images(3)}
    np.testing.assert_array_equal(Session(again).run(feeds)["logits"], Session(model).run(feeds)["logits"])


def test_parts_that_make_the_same_tensor_are_not_joined() -> None:
    model = fgcam_onnx.load(small_cnn())
    with pytest.raises(ValueError, match="logits"):
        joined(model, model)


def test_a_tensor_off_the_path_is_refused() -> None:
    nodes = [*small_nodes(), node("Relu", ["logits"], "aside")]
    model = fgcam_onnx.load(
        model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits", "aside"])
    )
    for at in ("aside", "logits"):
        with pytest.raises(LayerError, match="nothing flows"):
            cut(model, at, output="logits")


def test_one_number_for_a_whole_batch_does_not_cross() -> None:
    nodes = [
        *small_nodes()[:5],
        node("DynamicQuantizeLinear", [BASE], "integers", "scale", "zero"),
        node("DequantizeLinear", ["integers", "scale", "zero"], "back"),
        node("GlobalAveragePool", ["back"], "mean"),
        node("Flatten", ["mean"], "logits", axis=1),
    ]
    model = fgcam_onnx.load(model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"]))
    with pytest.raises(LayerError, match=r"'(scale|zero)', one number for a whole batch"):
        cut(model, "integers", output="logits")
    feeds = {"input": images(2)}
    for at in (BASE, "back"):
        found = both_parts(cut(model, at, output="logits"), feeds)
        np.testing.assert_allclose(found, Session(model).run(feeds)["logits"], rtol=1e-6, atol=1e-6)


# ---- how far a channel of zeros stays one


@pytest.mark.parametrize(
    ("after", "last"),
    [
        ([node("Relu", [BASE], "a"), node("AveragePool", ["a"], "b", kernel_shape=[2, 2])], GAP),
        ([node("Conv", [BASE, "same"], "b")], BASE),
        ([node("Clip", [BASE, "low", "high"], "b")], GAP),
        ([node("Clip", [BASE, "high", ""], "b")], BASE),
        ([node("Sigmoid", [BASE], "b")], BASE),
        ([node("Relu", [BASE], "a"), node("Add", [BASE, "a"], "b")], BASE),
    ],
    ids=["pooled", "convolution", "clip around 0", "clip above 0", "sigmoid of 0", "two readers"],
)  # fmt: skip
def test_channels_are_followed_as_long_as_nothing_mixes_them(after: list[onnx.NodeProto], last: str) -> None:
    nodes = small_nodes()
    nodes[5].input[0] = "b"
    weights = small_weights() | {
        "same": np.eye(16, dtype=np.float32)[:, :, None, None],
        "low": np.float32(-1), "high": np.float32(6),
    }  # fmt: skip
    proto = model_of([*nodes[:5], *after, *nodes[5:]], weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    model = fgcam_onnx.load(proto)
    assert last_with_channels(model, BASE) == last
    near, far = cut(model, BASE, output="logits"), cut(model, last, output="logits")
    x = {"input": images(1)}
    features, later = Session(near.trunk).run(x)[BASE], Session(far.trunk).run(x)[last]
    for channel in range(0, 16, 5):
        ends = []
        for parts, array in ((near, features), (far, later)):
            zeroed = array.copy()
            zeroed[:, channel] = 0
            ends.append(next(iter(Session(parts.head).run({parts.at: zeroed}).values())))
        np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)
