"""Gradient-free CAMs against textbook loops over the whole model, one changed run after another, and against peers."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from nets import BASE, images, inserted, model_of, node, small_cnn, small_nodes, small_weights, written
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

import fgcam_onnx
from fgcam_onnx import Explainer, explain
from fgcam_onnx.cam.perturbation import live_channels, stretched, upsampled, upsampling
from fgcam_onnx.errors import NumericsError, OptionError
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image
from fgcam_onnx.methods import find_method
from fgcam_onnx.program import SEED
from fgcam_onnx.runtime import Session

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime import quantization

Array = NDArray[Any]
GOLDENS = Path(__file__).parents[1] / "goldens"
MIDDLE = "/pool/MaxPool_output_0"
METHODS: dict[str, dict[str, Any]] = {
    "ablationcam": {},
    "iscam": {"samples": 3},
    "reciprocam": {},
    "scorecam": {},
    "sscam": {"samples": 2},
}


# ---- the whole model, run by plain onnxruntime


def runs_of(model: ModelProto, *names: str) -> Callable[..., list[Array]]:
    """Return what runs ``model``; tensors ``names`` are outputs too, after its own."""
    changed = ModelProto()
    changed.CopyFrom(model)
    changed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    session = onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x, name="input": session.run(None, {name: x})  # type: ignore[no-any-return]


def multiplied(model: ModelProto, name: str, factor: Array) -> ModelProto:
    """Return ``model`` with tensor ``name`` times ``factor`` in its place."""
    changed = inserted(model, name, node("Mul", [name, f"{name}/factor"], f"{name}/changed"), result=f"{name}/changed")
    changed.graph.initializer.append(numpy_helper.from_array(factor.astype(np.float32), f"{name}/factor"))
    return changed


def widened(a: Array, size: tuple[int, int], *, corners: bool) -> Array:
    """Upsample (h, w) bilinearly, one line of numbers after the other."""
    for n in size:
        at = np.linspace(0, len(a) - 1, n) if corners else (np.arange(n) + 0.5) * len(a) / n - 0.5
        a = np.stack([np.interp(at, np.arange(len(a)), column) for column in a.T])
    return a


def unit(a: Array) -> Array:
    return (a - a.min()) / np.ptp(a) if np.ptp(a) else 0 * a


def softmax(a: Array) -> Array:
    return np.exp(a - a.max()) / np.exp(a - a.max()).sum()


def textbook(method: str, model: ModelProto, x: Array, seed: Array, layer: str) -> Array:
    """Return the map of one image (1, ...), each run on its own; ``seed`` (K,) weighs the logits."""
    logits, features = runs_of(model, layer)(x)
    a, size = features[0].astype(np.float64), (x.shape[2], x.shape[3])
    run = runs_of(model)

    def score(mask: Array) -> float:
        return float(run((x * mask).astype(np.float32))[0][0] @ seed)

    def changed(factor: Array) -> float:
        return float(runs_of(multiplied(model, layer, factor))(x)[0][0] @ seed)

    if method == "scorecam":
        scores = [score(unit(widened(c, size, corners=True))) for c in a]
    elif method == "iscam":
        scores = [np.mean([score(f * widened(unit(c), size, corners=False)) for f in (1 / 3, 1, 2)]) for c in a]
    elif method == "sscam":
        noise = (2.0 * np.random.default_rng(0).standard_normal((2, *size))).astype(np.float32)
        scores = [np.mean([score(widened(unit(c), size, corners=False) + n) for n in noise]) for c in a]
    elif method == "ablationcam":
        y = logits[0] @ seed
        weights = [(y - changed(1 - np.eye(len(a))[k][None, :, None, None])) / y for k in range(len(a))]
        return np.tensordot(np.array(weights), a, 1)
    else:
        kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
        found = np.zeros(a.shape[1:])
        for i, j in np.ndindex(found.shape):
            around = np.zeros((a.shape[1] + 2, a.shape[2] + 2))
            around[i : i + 3, j : j + 3] = kernel
            found[i, j] = changed(around[None, None, 1:-1, 1:-1])
        return found
    return np.tensordot(softmax(np.array(scores)), a, 1)


def close(found: Array, expected: Array, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("layer", [BASE, MIDDLE])
@pytest.mark.parametrize("method", METHODS)
def test_maps_are_those_of_a_plain_loop(method: str, layer: str) -> None:
    x = images(2)
    found = explain(small_cnn(), x, method=method, layers=layer, target=[3, 1], batch=3, **METHODS[method])
    for i, target in enumerate((3, 1)):
        expected = textbook(method, small_cnn(), x[i : i + 1], np.eye(5)[target], layer)
        close(found.map[i], expected)
        assert np.abs(found.map[i] - 1.001 * expected).max() > 2e-5 * np.abs(expected).max()  # negative control


@pytest.mark.parametrize("method", METHODS)
def test_any_weighing_of_the_logits_can_be_explained(method: str) -> None:
    x, seed = images(1), np.array([[0.5, -1, 0, 2, 0.1]], np.float32)
    options, _ = Explainer(small_cnn(), method=method, layers=BASE, **METHODS[method]).options(seeded=True)
    found = find_method(method).compile(options)({"input": x, SEED: seed})
    close(found["map/0"][0], textbook(method, small_cnn(), x, seed[0], BASE))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_filled_up(method: str, batch: int) -> None:
    x = images(batch)
    fixed = explain(small_cnn(batch=batch), x, method=method, layers=MIDDLE, target=2, **METHODS[method])
    close(fixed.map, explain(small_cnn(), x, method=method, layers=MIDDLE, target=2, **METHODS[method]).map, 1e-5)


def residual_net() -> ModelProto:
    """Return a net whose skip connection and second input run past its deepest layer."""
    nodes = small_nodes(logits="plain")
    nodes[5].input[0] = "added"
    nodes += [node("Mul", ["plain", "factor"], "logits")]
    nodes[5:5] = [
        node("Conv", [MIDDLE, "skip.weight"], "skip"),
        node("Add", [BASE, "skip"], "sum"),
        node("Relu", ["sum"], "added"),
    ]
    weights = small_weights() | {"skip.weight": small_weights(3)["layer2.conv.weight"][:, :, 1:2, 1:2].copy()}
    return model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10], "factor": ["N", 1]}, outputs=["logits"])


@pytest.mark.parametrize("method", ["ablationcam", "reciprocam"])
def test_what_runs_past_the_layer_is_each_images_own(method: str) -> None:
    """The deepest layer on one branch: skip connection and second input are the image's, in every run."""
    x, factor = images(3), np.array([[1], [-2], [3]], np.float32)
    found = explain(residual_net(), {"input": x, "factor": factor}, method=method, layers=BASE, target=1, input="input")
    for i in range(3):
        whole = ModelProto()
        whole.CopyFrom(residual_net())
        del whole.graph.input[1]
        whole.graph.initializer.append(numpy_helper.from_array(factor[i : i + 1], "factor"))
        close(found.map[i], textbook(method, whole, x[i : i + 1], np.eye(5)[1], BASE))


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
    masks = live.spread(stretched(upsampled(live.maps, rows, columns.T)))
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


# ---- beside FG-CAM, and what is refused


def test_fgcam_keeps_its_published_weights_of_score_cam() -> None:
    x = images(1)
    base = explain(small_cnn(), x, base="scorecam", layers=BASE, target=3).map
    own = explain(small_cnn(), x, method="scorecam", layers=BASE, target=3).map
    _, a = runs_of(small_cnn(), BASE)(x)
    run = runs_of(small_cnn())
    weights = [
        softmax(run((x * unit(widened(c.astype(np.float64), (12, 10), corners=False))).astype(np.float32))[0][0])[3]
        for c in a[0]
    ]
    close(base[0], np.tensordot(np.array(weights), a[0], 1))
    assert np.abs(base - own).max() > 0.1 * np.abs(base).max()


@pytest.mark.parametrize("base", ["ablationcam", "iscam", "sscam"])
def test_every_cam_with_components_is_a_base_of_fgcam(base: str) -> None:
    x = images(1)
    fine = explain(small_cnn(), x, base=base, layers=["input", BASE], target=3, **METHODS[base])
    coarse = explain(small_cnn(), x, method=base, layers=BASE, target=3, **METHODS[base])
    close(fine.maps[BASE], coarse.map, 1e-5)
    assert np.abs(fine.maps["input"]).max() > 0


def test_reciprocam_is_no_base_of_fgcam() -> None:
    with pytest.raises(OptionError, match="reciprocam gives a map, not components"):
        explain(small_cnn(), images(1), base="reciprocam")


def test_without_the_gaussian_a_single_place_is_kept() -> None:
    x = images(1)
    found = explain(small_cnn(), x, method="reciprocam", gaussian=False, layers=BASE, target=3).map[0]
    one = np.zeros((1, 1, *found.shape))
    one[..., 2, 3] = 1
    expected = runs_of(multiplied(small_cnn(), BASE, one))(x)[0][0, 3]
    np.testing.assert_allclose(found[2, 3], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "settings", "word"),
    [("sscam", {"samples": 0}, "samples"), ("iscam", {"samples": -1}, "samples"), ("sscam", {"std": -1.0}, "std"),
     ("scorecam", {"samples": 3}, "no settings")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(method: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        Explainer(small_cnn(), method=method, **settings)


def test_shares_of_a_score_of_0_are_refused() -> None:
    options, _ = Explainer(small_cnn(), method="ablationcam", layers=BASE).options(seeded=True)
    run = find_method("ablationcam").compile(options)
    with pytest.raises(NumericsError, match="exactly 0"):
        run({"input": images(1), SEED: np.zeros((1, 5), np.float32)})


# ---- published packages


@pytest.mark.parametrize("net", ["resnet_shapes", "vgg_shapes"])
def test_maps_are_those_of_pytorch_grad_cam_and_torchcam(bundled: Path, net: str) -> None:
    """Goldens by tools/peers/peers_masked.py: raw maps of three pictures, SS-CAM with our noise."""
    file = bundled / f"{net}.torchscript.onnx"
    preprocess = preprocess_from(find_sidecar(file)).bound(("N", 3, 96, 96), np.float32)
    x = np.concatenate([preprocess(read_image(bundled / "pictures" / f"{n}.png")) for n in ("circle", "star", "two")])
    published = np.load(GOLDENS / f"masked.{net}.npz")
    assert len(published.files) == 4
    model = fgcam_onnx.load(file)
    for key in published.files:
        method, layer = key.split("@")
        settings = {"samples": 4} if method in ("iscam", "sscam") else {}
        found = explain(model, x, method=method, layers=layer, **settings)
        for ours, theirs in zip(found.map, published[key], strict=True):
            close(ours, theirs, 1e-5)


def test_maps_are_those_of_openvino_xai() -> None:
    """Goldens by tools/peers/peers_reciprocam.py, without the Gaussian, which OpenVINO XAI keeps for transformers."""
    published = np.load(GOLDENS / "masked.reciprocam.npz")
    for net in ("resnet_shapes", "vgg_shapes"):
        file = GOLDENS.parent.parent / "exported_models" / f"{net}.torchscript.onnx"
        x = np.random.default_rng(3).standard_normal((1, 3, 96, 96)).astype(np.float32)
        layer = str(published[f"{net}.layer"])
        found = explain(file, x.repeat(8, 0), method="reciprocam", gaussian=False, layers=layer, target=range(8))
        for ours, theirs in zip(found.map, published[net], strict=True):
            close(ours, theirs, 1e-5)
