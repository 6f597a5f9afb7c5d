"""The preprocessing that a file shows: each kind of evidence on a net that shows nothing else, and the real models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nets import model_of, node
from onnx import helper

import fgcam_onnx
from fgcam_onnx.guessing import EVIDENCE, guess
from fgcam_onnx.imaging import PRESETS, Preprocess

PADS = {"pads": [1, 1, 1, 1]}


def net(
    *first: onnx.NodeProto,
    given: dict[str, Any] | None = None,
    shape: tuple[Any, ...] = ("N", 3, 64, 64),
    source: str = "input",
    size: float = 0.2,
    reads: str | None = None,
) -> onnx.ModelProto:
    """Return a net whose first convolution reads what ``first`` makes of the input."""
    channels = 1 if 1 in shape[1:] else 3
    weights = {
        "k": (size * np.random.default_rng(0).normal(size=(4, channels, 3, 3))).astype(np.float32),
        **(given or {}),
    }
    last = shape[-1] == channels and shape[1] != channels
    reads = reads or (first[-1].output[0] if first else source)
    turned = [node("Transpose", [reads], "turned", perm=[0, 3, 1, 2])] if last else []
    nodes = [
        *first,
        *turned,
        node("Conv", ["turned" if last else reads, "k"], "a", **PADS),
        node("GlobalAveragePool", ["a"], "p"),
        node("Flatten", ["p"], "logits"),
    ]
    return model_of(nodes, weights, inputs={source: list(shape)}, outputs=["logits"])


def guessed(proto: onnx.ModelProto) -> tuple[str, Preprocess]:
    model = fgcam_onnx.load(proto)
    found = guess(model, model.inputs[0])
    return found.kind, found.preprocess


def told(proto: onnx.ModelProto, producer: str = "tests", **metadata: str) -> onnx.ModelProto:
    proto.producer_name = producer
    helper.set_model_props(proto, metadata)
    return proto


def per_channel(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 3, 1, 1)


def test_whole_numbers_are_pixels() -> None:
    cast = node("Cast", ["input"], "f", to=onnx.TensorProto.FLOAT)
    for kind, mean in ((np.uint8, 0.0), (np.int8, 128.0)):
        proto = net(cast)
        proto.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        found, preprocess = guessed(proto)
        assert found == "an integer input"
        bound = preprocess.bound(("N", 3, 64, 64), kind)
        assert (bound.scale, bound.mean) == (1.0, (mean,))


@pytest.mark.parametrize("name", ["imagenet", "cifar", "tf", "unit", "none"])
def test_a_quantizer_that_was_calibrated_tells_its_range(name: str) -> None:
    mean, std = np.array(PRESETS[name].mean), np.array(PRESETS[name].std)
    low, high = (0 - mean) / std, (255 * PRESETS[name].scale - mean) / std
    scale = float(high.max() - low.min()) / 255
    given = {"s": np.float32(scale), "z": np.uint8(round(-float(low.min()) / scale))}
    first = [node("QuantizeLinear", ["input", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "d")]
    assert guessed(net(*first, given=given)) == ("a quantizer at the input", PRESETS[name])


@pytest.mark.parametrize(
    ("ops", "wanted", "channels"),
    [
        ([("Sub", per_channel(123.7, 116.8, 103.9))], "none", None),
        ([("Sub", per_channel(103.9, 116.8, 123.7))], "none", "BGR"),
        ([("Div", np.float32(255)), ("Sub", per_channel(0.485, 0.456, 0.406))], "none", None),
        ([("Sub", per_channel(0.485, 0.456, 0.406)), ("Div", per_channel(0.229, 0.224, 0.225))], "unit", None),
        ([("Mul", np.float32(2)), ("Add", np.float32(-1))], "unit", None),
        ([("Mul", np.float32(1 / 127.5)), ("Sub", np.float32(1))], "none", None),
        ([("Mul", np.float32(1 / 255))], "none", None),
    ],
)
def test_arithmetic_before_the_first_weights_tells_what_it_is_done_to(
    ops: list[tuple[str, np.ndarray]], wanted: str, channels: str | None
) -> None:
    names = ["input", *(f"t{i}" for i in range(len(ops)))]
    first = [node(op, [names[i], f"c{i}"], names[i + 1]) for i, (op, _) in enumerate(ops)]
    kind, preprocess = guessed(net(*first, given={f"c{i}": c for i, (_, c) in enumerate(ops)}))
    assert kind == "arithmetic at the input"
    assert preprocess == (PRESETS[wanted] if channels is None else Preprocess(scale=1.0, channels="BGR"))


@pytest.mark.parametrize(
    ("mean", "deviation", "wanted"),
    [(112.0, 64.0, "none"), (0.45, 0.25, "unit"), (-0.1, 0.5, "tf"), (0.02, 1.05, "imagenet")],
)
def test_a_first_normalization_tells_what_it_was_trained_on(mean: float, deviation: float, wanted: str) -> None:
    three = lambda value: np.full(3, value, np.float32)
    given = {"g": three(1.3), "b": three(0.2), "m": three(mean), "v": three(deviation**2)}
    proto = net(node("BatchNormalization", ["input", "g", "b", "m", "v"], "n"), given=given)
    assert guessed(proto) == ("arithmetic at the input", PRESETS[wanted])


def test_small_first_weights_wait_for_pixels() -> None:
    assert guessed(net(size=0.002)) == ("small first weights", PRESETS["none"])
    kind, preprocess = guessed(net(size=0.002, source="images"))
    assert (kind, preprocess.channels, preprocess.pad_at) == ("small first weights", "BGR", "corner")
    # the same net, its smallness made up for before: what the first weights meet is what counts
    made_up = net(node("Mul", ["input", "c"], "m"), given={"c": np.float32(100)}, size=0.002)
    assert guessed(made_up)[0] == "nothing"


def test_metadata_is_believed() -> None:
    kind, preprocess = guessed(
        told(net(shape=("N", 3, "h", "w")), author="Ultralytics", task="detect", imgsz="[64, 96]")
    )
    assert (kind, preprocess) == ("Ultralytics' metadata", Preprocess(resize="pad", size=(64, 96)))
    kind, preprocess = guessed(told(net(), stride="32", names="{0: 'a'}", task="classify"))
    assert (kind, preprocess) == ("Ultralytics' metadata", Preprocess(crop_share=1.0))
    pixels = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    kind, preprocess = guessed(told(net(), **pixels))
    assert (kind, preprocess) == ("Windows ML's metadata", Preprocess(scale=1.0, channels="BGR"))


@pytest.mark.parametrize(
    ("proto", "kind", "preset"),
    [
        (told(net(), "onnx-caffe2"), "written by Caffe's converters", "caffe"),
        (told(net(shape=("N", 1, 28, 28)), "CNTK"), "written by Core ML's or CNTK's", "none"),
        (net(shape=("N", 1, 28, 28)), "one channel", "unit"),
        (told(net(), "PaddlePaddle"), "written by PaddlePaddle", "imagenet"),
        (told(net(shape=("N", 3, "h", "w")), "PaddlePaddle"), "written by PaddlePaddle", "tf"),
        (net(shape=("N", 224, 224, 3)), "colours last", "tf"),
        (net(shape=("N", 32, 32, 3)), "colours last", "unit"),
        (net(source="pixel_values"), "an input called pixel_values", "tf"),
        (net(shape=("N", 3, 32, 32)), "32 x 32 pixels", "cifar"),
        (net(), "nothing", "imagenet"),
    ],
)  # fmt: skip
def test_what_else_a_file_shows(proto: onnx.ModelProto, kind: str, preset: str) -> None:
    assert guessed(proto) == (kind, PRESETS[preset])


def test_a_grey_picture_is_never_given_three_means() -> None:
    given = {"s": np.float32(4.757 / 255), "z": np.uint8(114)}
    first = [node("QuantizeLinear", ["input", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "d")]
    proto = net(*first, given=given, shape=("N", 1, 64, 64))
    kind, preprocess = guessed(proto)
    assert kind == "one channel"
    assert preprocess.bound(("N", 1, 64, 64), "float32").channels == "GREY"


def test_the_guess_is_right_on_most_real_models(assets: Path) -> None:
    """Truth as the list of models has it; those that are guessed wrong are named, so that a change is seen."""
    import importlib.util

    path = Path(__file__).parents[1] / "tools" / "coverage" / "guesses.py"
    spec = importlib.util.spec_from_file_location("guesses", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    wrong = set()
    for entry in json.loads((assets / "models" / "models.json").read_text()):
        model = fgcam_onnx.load(assets / "models" / entry["file"])
        found = guess(model, model.inputs[0])
        assert found.kind in EVIDENCE
        if not any(tool.same(found.preprocess, truth, model.inputs[0]) for truth in tool.wanted(entry)):
            wrong.add(entry["file"])
    assert wrong == {
        "mcunet_in3_fp32_torch.onnx",
        "mlperftiny_resnet8_cifar10_int8.onnx",
        "selfie_segmenter_landscape.onnx",
        "vit_cifar10_ibp_3_3_8.onnx",
    }
