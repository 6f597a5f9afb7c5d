"""Gradient-free CAMs at layers of tokens, of integers and of channels that cost nothing, against textbook loops."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_nodes, small_weights, written
from onnx import ModelProto, numpy_helper

from fgcam_onnx import explain
from fgcam_onnx.cam.perturbation import live_channels, stretched, upsampled, upsampling
from fgcam_onnx.runtime import Session

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime import quantization
from masked_loops import METHODS, Array, close, multiplied, runs_of, textbook

# ---- tokens


def token_net() -> ModelProto:
    """Return a small transformer: 3 x 2 patches and a class token, one block of attention, a linear head."""
    rng = np.random.default_rng(5)
    shapes = {"patch": (6, 3, 4, 5), "cls": (1, 1, 6), "qkv": (6, 18), "out": (6, 6), "head": (6, 5)}
    weights = {n: (rng.standard_normal(s) * 0.6).astype(np.float32) for n, s in shapes.items()}
    weights |= {"one": np.ones(6, np.float32), "half": np.full(6, 0.5, np.float32)}
    weights |= {"tokens": np.array([0, 6, 6], np.int64)}
    weights |= {"axis": np.array([1], np.int64), "rest": np.array([1, 1], np.int64)}
    nodes = [
        node("Conv", ["input", "patch"], "patches", kernel_shape=[4, 5], strides=[4, 5]),
        node("Reshape", ["patches", "tokens"], "flat"),
        node("Transpose", ["flat"], "sequence", perm=[0, 2, 1]),
        node("Shape", ["sequence"], "batch", start=0, end=1),
        node("Concat", ["batch", "rest"], "sizes", axis=0),
        node("Expand", ["cls", "sizes"], "class"),
        node("Concat", ["class", "sequence"], "stream", axis=1),
        node("LayerNormalization", ["stream", "one", "half"], "normal", axis=-1),
        node("MatMul", ["normal", "qkv"], "mixed"),
        node("Split", ["mixed"], "q", "k", "v", axis=2, num_outputs=3),
        node("Transpose", ["k"], "kt", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], "raw"),
        node("Softmax", ["raw"], "attention", axis=-1),
        node("MatMul", ["attention", "v"], "attended"),
        node("MatMul", ["attended", "out"], "projected"),
        node("Add", ["stream", "projected"], "deep"),
        node("ReduceMean", ["deep", "axis"], "mean", keepdims=0),
        node("MatMul", ["mean", "head"], "logits"),
    ]
    return model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])


@pytest.mark.parametrize("layer", ["stream", "normal"])
def test_tokens_are_masked_behind_the_normalisation_and_on_the_shortcut(layer: str) -> None:
    x = images(1)
    found = explain(token_net(), x, method="reciprocam", layers=layer, target=2, batch=4).map[0]
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    expected = np.zeros((3, 2))
    for i, j in np.ndindex(3, 2):
        around = np.zeros((5, 4))
        around[i : i + 3, j : j + 3] = kernel
        kept = np.concatenate([[1.0], around[1:-1, 1:-1].ravel()])[None, :, None]
        changed = multiplied(token_net(), "normal", kept)
        # the shortcut: only what Add reads of the stream
        changed.graph.initializer.append(numpy_helper.from_array(kept.astype(np.float32), "kept"))
        add = next(n for n in changed.graph.node if n.op_type == "Add")
        changed.graph.node.insert(list(changed.graph.node).index(add), node("Mul", ["stream", "kept"], "short"))
        add.input[0] = "short"
        expected[i, j] = runs_of(changed)(x)[0][0, 2]
    close(found, expected)


def test_a_channel_of_tokens_is_taken_out_of_every_token() -> None:
    x = images(1)
    found = explain(token_net(), x, method="ablationcam", layers="normal", target=2, batch=4).map[0]
    logits, normal = runs_of(token_net(), "normal")(x)
    expected = np.zeros(6)
    for k in range(6):
        kept = (np.arange(6) != k)[None, None]
        y = runs_of(multiplied(token_net(), "normal", kept))(x)[0][0, 2]
        expected += (logits[0, 2] - y) / logits[0, 2] * normal[0, 1:, k]
    close(found, expected.reshape(3, 2))


# ---- integers


@pytest.mark.parametrize("method", ["ablationcam", "reciprocam", "scorecam"])
def test_a_layer_of_integers_is_changed_by_what_its_integers_stand_for(method: str, tmp_path: Path) -> None:
    """The oracle changes the real values that the next operator reads; 0 is one of them, and so are kept values."""
    x = images(4)
    source, target = written(small_cnn(), tmp_path), tmp_path / "quantized.onnx"
    reader = SimpleNamespace(get_next=functools.partial(next, iter([{"input": x}]), None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            str(source), str(target), reader, quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
        )  # fmt: skip
    model = onnx.load(target)
    makers = {o: n for n in model.graph.node for o in n.output}
    real = next(n.input[0] for n in model.graph.node if n.op_type == "GlobalAveragePool")
    stored = makers[real].input[0]
    assert makers[stored].op_type == "QuantizeLinear"
    settings = {"gaussian": False} if method == "reciprocam" else {}
    found = explain(target, x[:1], method=method, layers=stored, target=3, **settings).map[0]
    if method == "reciprocam":
        one = np.zeros((1, 1, *found.shape))
        one[..., 2, 3] = 1
        np.testing.assert_allclose(
            found[2, 3], runs_of(multiplied(model, real, one))(x[:1])[0][0, 3], rtol=1e-5, atol=1e-6
        )
    else:
        close(found, textbook(method, model, x[:1], np.eye(5)[3], real), 1e-4)


# ---- channels that cost nothing


def net_with_dead_channels() -> ModelProto:
    """Return the small net with every second channel of the deepest layer 0, whatever the input."""
    weights = small_weights()
    weights["layer2.conv.weight"][::2] = 0
    weights["layer2.conv.bias"][::2] = -1
    return model_of(small_nodes(), weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])


@pytest.mark.parametrize(("method", "runs"), [("scorecam", 9), ("iscam", 27), ("sscam", 18), ("ablationcam", 9)])
def test_dead_channels_are_not_run_and_change_nothing(method: str, runs: int) -> None:
    told: list[tuple[int, int]] = []
    x = images(1)
    found = explain(
        net_with_dead_channels(), x, method=method, layers=BASE, target=3, batch=4,
        progress=lambda done, total: told.append((done, total)), **METHODS[method],
    )  # fmt: skip
    assert told[-1] == (runs, runs)
    assert [d for d, _ in told] == sorted({d for d, _ in told})
    close(found.map[0], textbook(method, net_with_dead_channels(), x, np.eye(5)[3], BASE))


def test_a_constant_channel_makes_a_mask_of_zeros() -> None:
    channels = np.stack([np.full((3, 3), 0.7), np.arange(9.0).reshape(3, 3), np.zeros((3, 3))]).astype(np.float32)
    live = live_channels(channels)
    rows, columns = upsampling((3, 3), (7, 5))
    masks = live.spread(stretched(upsampled(live.maps, (rows, columns)), (1, 2)))
    assert len(live.maps) == 2
    assert not masks[0].any()
    assert not masks[2].any()
    assert (masks[1].min(), masks[1].max()) == (0, 1)


@pytest.mark.parametrize("width", [4, 32])
def test_however_many_channels_a_run_takes_a_batch_of_them(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = Session.run

    def watched(session: Session, feeds: dict[str, Array]) -> dict[str, Array]:
        sizes.extend(len(a) for n, a in feeds.items() if n.endswith("/maps"))
        found = original(session, feeds)
        assert all(a.size <= 3 * 64 * 6 * 5 for a in found.values())
        return found

    monkeypatch.setattr(Session, "run", watched)
    explain(small_cnn(width=width), images(1), method="scorecam", layers=BASE, batch=3)
    assert max(sizes) == 3
    assert width < sum(sizes) <= 2 * width
