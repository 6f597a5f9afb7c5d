"""The many forms in which files say the same thing give the same scores and maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_nodes, small_weights
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from plain import run_plainly, same

from fgcam_onnx import Explainer, explain, load
from fgcam_onnx.errors import InputError


def test_weights_listed_as_inputs_are_weights() -> None:
    listed = small_cnn(listed=True, ir=3, opset=9)
    assert len(listed.graph.input) > 1
    assert [i.name for i in load(listed).inputs] == ["input"]
    same(explain(listed, images()), explain(small_cnn(), images()))


def constant_nodes() -> list[NodeProto]:
    """Write one Constant of each form; their sum is 10."""
    array = numpy_helper.from_array(np.full((1,), 1.0, np.float32))
    return [
        node("Constant", [], "c0", value=array),
        node("Constant", [], "c1", value_float=2.0),
        node("Constant", [], "c2", value_floats=[3.0]),
        node("Constant", [], "i3", value_int=3),
        node("Constant", [], "i4", value_ints=[1]),
        node("Cast", ["i3"], "c3", to=TensorProto.FLOAT),
        node("Cast", ["i4"], "c4", to=TensorProto.FLOAT),
        node("Sum", ["c0", "c1", "c2", "c3", "c4"], "ten"),
    ]


def test_every_form_of_constant_is_a_constant() -> None:
    nodes = [*small_nodes(), *constant_nodes(), node("Add", ["logits", "ten"], "output")]
    model = load(model_of(nodes, small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["output"]))
    assert {n.op_type for n in model.nodes} == {n.op_type for n in small_nodes()} | {"Add"}
    plain = explain(small_cnn(), images())
    np.testing.assert_allclose(explain(model, images()).scores, plain.scores + 10, rtol=1e-6, atol=0)


# ---- operator sets


def many_forms(opset: int) -> ModelProto:
    """Build one net in the words of ``opset``: what later opsets moved from attributes to inputs."""
    weights = small_weights() | {
        n: np.abs(np.random.default_rng(i).standard_normal(8)).astype(np.float32) + 0.5
        for i, n in enumerate(("bn.scale", "bn.bias", "bn.mean", "bn.var"))
    }

    def constant(name: str, *values: Any, dtype: Any = np.int64) -> str:
        weights[name] = np.array(values if len(values) != 1 else values[0], dtype).reshape(
            -1 if len(values) > 1 else ()
        )
        return name

    def vector(name: str, *values: Any, dtype: Any = np.int64) -> str:
        weights[name] = np.array(values, dtype)
        return name

    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    clip = (
        node("Clip", ["bn"], "clip", min=0.0, max=6.0)
        if opset < 11
        else node(
            "Clip",
            ["bn", constant("low", 0.0, dtype=np.float32), constant("high", 6.0, dtype=np.float32)],
            "clip",
        )
    )
    slice_ = (
        node("Slice", ["clip"], "slice", starts=[0, 1], ends=[99, 9], axes=[2, 3])
        if opset < 10
        else node("Slice", ["clip", vector("starts", 0, 1), vector("ends", 99, 9), vector("axes", 2, 3)], "slice")
    )
    pad = (
        node("Pad", ["slice"], "pad", pads=pads) if opset < 11 else node("Pad", ["slice", vector("pads", *pads)], "pad")
    )
    scales = (1.0, 1.0, 2.0, 2.0)
    if opset < 9:
        larger = node("Upsample", ["pad"], "larger", scales=scales, mode="nearest")
    elif opset == 9:
        larger = node("Upsample", ["pad", vector("scales", *scales, dtype=np.float32)], "larger", mode="nearest")
    elif opset == 10:
        larger = node("Resize", ["pad", vector("scales", *scales, dtype=np.float32)], "larger", mode="nearest")
    else:
        larger = node(
            "Resize", ["pad", vector("roi", dtype=np.float32), vector("scales", *scales, dtype=np.float32)],
            "larger", mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
    drop = (
        node("Dropout", ["larger"], "drop", ratio=0.5)
        if opset < 12
        else node("Dropout", ["larger", constant("ratio", 0.5, dtype=np.float32)], "drop")
    )
    mean = (
        node("ReduceMean", ["deep"], "mean", axes=[2, 3], keepdims=1)
        if opset < 18
        else node("ReduceMean", ["deep", vector("space", 2, 3)], "mean", keepdims=1)
    )
    squeeze = (
        node("Squeeze", ["mean"], "flat", axes=[2, 3])
        if opset < 13
        else node("Squeeze", ["mean", vector("space", 2, 3)], "flat")
    )
    nodes = [
        node("Conv", ["input", "layer1.conv.weight", "layer1.conv.bias"], "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["conv", "bn.scale", "bn.bias", "bn.mean", "bn.var"], "bn", epsilon=1e-3),
        clip, slice_, pad, larger, drop,
        node("AveragePool", ["drop"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["average", "layer2.conv.weight", "layer2.conv.bias"], "conv2"),
        node("Relu", ["conv2"], "deep"),
        mean, squeeze,
        node("Reshape", ["flat", vector("rows", -1, 16)], "rows_of_16"),
        node("Gemm", ["rows_of_16", "fc.weight", "fc.bias"], "logits", transB=1),
    ]  # fmt: skip
    return model_of(
        nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"],
        opset=opset, ir=3 if opset < 9 else 8, listed=opset < 9,
    )  # fmt: skip


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 20, 21, 22])
def test_every_opset_gives_the_same_map(opset: int) -> None:
    x = images()
    layers = ("input", "clip", "deep")
    found, wanted = (explain(many_forms(o), x, target=1, layers=layers) for o in (opset, 19))
    same(found, wanted)
    np.testing.assert_allclose(found.scores, run_plainly(many_forms(min(opset, 20)), x), rtol=1e-5, atol=1e-5)


def test_the_newest_opset_that_onnx_knows_loads() -> None:
    newest = small_cnn(opset=onnx.defs.onnx_opset_version())
    assert load(newest).opset_read == onnx.defs.onnx_opset_version()


# ---- padding and preprocessing


def padded_net(*, size: tuple[int, int], stride: int, batch: Any = "N", **attrs: Any) -> ModelProto:
    weights = small_weights()
    pool = {k: v for k, v in attrs.items() if k != "pads"}
    nodes = [
        node(
            "Conv",
            ["input", "layer1.conv.weight"],
            "conv",
            kernel_shape=[3, 3],
            strides=[stride] * 2,
            **attrs,
        ),
        node("Relu", ["conv"], "relu"),
        node("MaxPool", ["relu"], "pool", kernel_shape=[2, 2], **pool),
        node(
            "Conv",
            ["pool", "layer2.conv.weight"],
            "conv2",
            kernel_shape=[3, 3],
            dilations=[2, 2],
            pads=[2] * 4,
        ),
        node("GlobalAveragePool", ["conv2"], "gap"),
        node("Flatten", ["gap"], "flat"),
        node("Gemm", ["flat", "fc.weight", "fc.bias"], "logits", transB=1),
    ]
    return model_of(nodes, weights, inputs={"input": [batch, 3, *size]}, outputs=["logits"])


@pytest.mark.parametrize("size", [(12, 10), (11, 13)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding_equals_explicit_pads(auto: str, stride: int, size: tuple[int, int]) -> None:
    """The pads are worked out here by hand; the pool's are compared through the scores."""

    def pads(kernel: int, step: int, sizes: tuple[int, int]) -> list[int]:
        if auto == "VALID":
            return [0, 0, 0, 0]
        total = [max(0, (-(-s // step) - 1) * step + kernel - s) for s in sizes]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        return [*small, *large] if auto == "SAME_UPPER" else [*large, *small]

    x = images(size=size)
    automatic = padded_net(size=size, stride=stride, auto_pad=auto)
    explicit = padded_net(size=size, stride=stride, pads=pads(3, stride, size))
    after = tuple(
        (s - 3 + p) // stride + 1
        for s, p in zip(size, np.add(*np.split(np.array(pads(3, stride, size)), 2)), strict=True)
    )
    pool = next(n for n in explicit.graph.node if n.op_type == "MaxPool")
    pool.attribute.append(helper.make_attribute("pads", pads(2, 1, (int(after[0]), int(after[1])))))
    layers = ("input", "relu", "conv2")
    found = explain(automatic, x, target=0, layers=layers)
    same(found, explain(explicit, x, target=0, layers=layers))
    np.testing.assert_allclose(found.scores, run_plainly(automatic, x), rtol=1e-5, atol=1e-6)


def test_automatic_padding_is_settled_when_the_size_comes_with_the_call() -> None:
    free = padded_net(size=("H", "W"), stride=2, auto_pad="SAME_UPPER")  # type: ignore[arg-type]
    explainer = Explainer(free, layers=("input", "relu"))
    for size in ((12, 10), (11, 13)):
        fixed = padded_net(size=size, stride=2, auto_pad="SAME_UPPER")
        same(explainer(images(size=size)), explain(fixed, images(size=size), layers=("input", "relu")))


def test_an_image_scaler_is_a_product_and_a_sum() -> None:
    weights = small_weights()
    bias = [0.1, -0.2, 0.3]
    scaler = node("ImageScaler", ["input"], "scaled", scale=0.5, bias=bias)
    scaled = model_of(
        [scaler, *small_nodes(source="scaled")],
        weights,
        inputs={"input": ["N", 3, 12, 10]},
        outputs=["logits"],
        opset=8,
    )
    x = images()
    plain = explain(small_cnn(), x * 0.5 + np.reshape(bias, (3, 1, 1)).astype(np.float32))
    np.testing.assert_allclose(explain(scaled, x).scores, plain.scores, rtol=1e-5, atol=1e-6)
    same(
        explain(scaled, x, layers=BASE),
        explain(small_cnn(), x * 0.5 + np.reshape(bias, (3, 1, 1)), layers=BASE),
        tolerance=1e-5,
    )


# ---- types


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_weights_behind_a_cast_load(name: str) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, name.upper()))
    weights = small_weights(width=16)
    stored = {f"{n}.half": a.astype(dtype) for n, a in weights.items()}
    casts = [node("Cast", [f"{n}.half"], n, to=TensorProto.FLOAT) for n in weights]
    nodes = [*casts, *small_nodes()]
    model = model_of(nodes, stored, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    rounded = {n: a.astype(dtype).astype(np.float32) for n, a in weights.items()}
    plain = model_of(small_nodes(), rounded, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    same(explain(model, images(), target=2), explain(plain, images(), target=2), tolerance=1e-5)


def test_a_float16_model_is_explained_near_its_float32_twin() -> None:
    half = {n: a.astype(np.float16) for n, a in small_weights().items()}
    model = model_of(small_nodes(), half, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"], dtype=np.float16)
    found, wanted = explain(model, images(), target=1), explain(small_cnn(), images(), target=1)
    assert found.map.dtype == np.float32
    assert np.corrcoef(found.map.ravel(), wanted.map.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_the_file_as_it_is(seed: int) -> None:
    """Weights large enough to travel beside the graph, too."""
    model = small_cnn(seed=seed, width=(4, 16, 32, 8)[seed], tail=("", "Softmax", "", "Sigmoid")[seed])
    x = images(3, seed=seed)
    logits = onnx.ModelProto()
    logits.CopyFrom(model)
    del logits.graph.output[:]
    logits.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5]))
    np.testing.assert_allclose(explain(model, x).scores, run_plainly(logits, x), rtol=1e-6, atol=1e-6)


# ---- sizes


def test_a_free_size_is_bound_at_the_call() -> None:
    free, x = small_cnn(size=("H", "W")), images(size=(12, 10))
    explainer = Explainer(free)
    same(explainer(x), explain(small_cnn(), x))
    other = images(size=(9, 15))
    assert explainer(other).map.shape == (2, 9, 15)
    same(explainer(other), explain(small_cnn(size=(9, 15)), other))
    same(explainer(x), explain(small_cnn(), x))


def test_a_size_too_small_for_the_net_is_an_input_error_that_says_so() -> None:
    explainer = Explainer(padded_net(size=("H", "W"), stride=1))  # type: ignore[arg-type]
    for size in ((2, 2), (3, 3)):
        with pytest.raises(InputError, match=rf"{size[0]} x {size[1]}.*too small"):
            explainer(images(size=size))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_fixed_batch_gives_what_a_free_one_does(batch: int, count: int) -> None:
    x = images(count)
    layers = ("input", "layer1")
    for options in ({}, {"base": "scorecam"}, {"denoise": True}, {"method": "gradcam"}):
        fixed = explain(small_cnn(batch=batch), x, layers=layers, **options)
        assert fixed.maps["input"].shape == (count, 12, 10)
        same(fixed, explain(small_cnn(), x, layers=layers, **options), tolerance=1e-5)


def test_a_channels_last_net_gives_upright_maps() -> None:
    """tf2onnx writes a Transpose in front; heights stay heights."""
    first = node("Transpose", ["images"], "input", perm=[0, 3, 1, 2])
    nhwc = model_of([first, *small_nodes()], small_weights(), inputs={"images": ["N", 12, 10, 3]}, outputs=["logits"])
    x = images()
    for options in ({}, {"base": "scorecam"}, {"denoise": True}):
        found = explain(nhwc, x.transpose(0, 2, 3, 1), layers=("images", "layer1"), **options)
        wanted = explain(small_cnn(), x, layers=("input", "layer1"), **options)
        assert found.maps["images"].shape == (2, 12, 10)
        same(found, wanted, tolerance=1e-5)
