"""FullGrad: input and biases together are the score, and each rescaling is the textbook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import model_of, node, small_cnn
from numpy.testing import assert_allclose
from onnx import ModelProto
from test_inputs import NETS, gradients_at, inputs, pictures_for

from fgcam_onnx import Explainer
from fgcam_onnx.errors import OptionError
from fgcam_onnx.matrices import resize_matrix
from fgcam_onnx.methods import biases


def odd_net() -> ModelProto:
    """Build a net with biases of many kinds: of sums, norms, clips, gates, quotients, joined constants."""
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    weights = {
        "mean": draw(1, 3, 1, 1), "w1": draw(6, 3, 3, 3) * 0.3, "b1": draw(6), "shift": draw(1, 6, 1, 1),
        "scale": draw(6), "offset": draw(6), "running": draw(6), "variance": np.abs(draw(6)) + 0.5,
        "low": np.float32(0), "high": np.float32(1.5), "w2": draw(4, 6, 1, 1), "b2": draw(4), "two": np.float32(2),
        "extra": np.abs(draw(1, 4, 12, 10)), "fc": draw(5, 4), "bias": draw(5), "final": draw(1, 5),
    }  # fmt: skip
    nodes = [
        node("Sub", ["mean", "input"], "centred"),
        node("Conv", ["centred", "w1", "b1"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["conv1"], "leaky", alpha=0.1),
        node("Add", ["shift", "leaky"], "shifted"),
        node("BatchNormalization", ["shifted", "scale", "offset", "running", "variance"], "normed"),
        node("Clip", ["normed", "low", "high"], "clipped"),
        node("Conv", ["clipped", "w2", "b2"], "conv2", kernel_shape=[1, 1]),
        node("Sigmoid", ["conv2"], "gate"),
        node("Relu", ["conv2"], "open"),
        node("Mul", ["open", "gate"], "gated"),
        node("Max", ["gated", "extra"], "larger"),
        node("Div", ["larger", "two"], "halved"),
        node("GlobalAveragePool", ["halved"], "pooled"),
        node("Flatten", ["pooled"], "flat"),
        node("Gemm", ["flat", "fc", "bias"], "summed", transB=1, beta=0.5),
        node("Add", ["summed", "final"], "logits"),
    ]
    return model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])


@pytest.mark.parametrize("net", ["small", "odd", *NETS])
def test_input_and_biases_together_are_the_score(bundled: Path, net: str) -> None:
    model: Any = {"small": small_cnn(), "odd": odd_net()}.get(net) or bundled / f"{net}.torchscript.onnx"
    x = pictures_for(model) if isinstance(model, Path) else inputs(3)
    for target in (0, 3):
        found = Explainer(model, method="fullgrad")(x, target=target)
        assert_allclose(found.conservation["input"], 1, rtol=2e-5)


@pytest.mark.parametrize("op", ["Add", "BatchNormalization", "Conv", "Gemm", "Sub"])
def test_without_a_kind_of_bias_the_score_is_not_complete(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """Negative control: no bias is too small to be noticed."""
    monkeypatch.setitem(biases.EXPLICIT, op, lambda record, g: [])
    found = Explainer(odd_net(), method="fullgrad")(inputs(3), target=3)
    assert np.all(np.abs(found.conservation["input"] - 1) > 1e-3)


@pytest.mark.parametrize("rescale", ["layer", "channel", "none"])
def test_fullgrad_is_the_textbooks(rescale: str) -> None:
    model, x = small_cnn(size=(12, 10)), inputs()
    convs = ("/layer1/conv/Conv_output_0", "/layer2/conv/Conv_output_0")
    plain = gradients_at(model, x, 4, ("input", *convs))
    held = {t.name: np.frombuffer(t.raw_data, np.float32) for t in model.graph.initializer}
    terms = [np.abs(x * plain["g/input"])]
    for i, name in enumerate(convs, 1):
        terms.append(np.abs(held[f"layer{i}.conv.bias"].reshape(1, -1, 1, 1) * plain[f"g/{name}"]))
    expected = np.zeros((2, 12, 10))
    for term in terms:
        for n, image in enumerate(term):
            for channel in image:
                over = {"layer": image, "channel": channel, "none": None}[rescale]
                if over is not None:
                    channel = (channel - over.min()) / (np.ptp(over) or 1)
                sides = zip(channel.shape, (12, 10), strict=True)
                ways = [resize_matrix(s, big) for s, big in sides]
                expected[n] += ways[0] @ channel @ ways[1].T
    found = Explainer(model, method="fullgrad", rescale=rescale)(x, target=4).map
    assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_an_unknown_rescaling_is_refused() -> None:
    with pytest.raises(OptionError, match="Did you mean 'layer'"):
        Explainer(small_cnn(), method="fullgrad", rescale="layers")
