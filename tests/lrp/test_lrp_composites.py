"""Composites: beside zennit's numbers, what they conserve, starts, composites and settings of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import BASE, images, model_of, node, small_cnn
from numpy.typing import NDArray
from PIL import Image

import fgcam_onnx
from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging import find_sidecar, preprocess_from
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp import linear
from fgcam_onnx.lrp.composites import Composite, op, reads_input
from fgcam_onnx.lrp.table import COMPOSITES, layered, rest
from fgcam_onnx.methods import METHODS

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "zennit.npz")
ROWS = sorted(name for name in GOLDENS.files if "/" in name and not name.endswith("target"))
STEP = 3


def bundled_pictures(bundled: Path, net: str) -> NDArray[np.float32]:
    """Return the two pictures of the goldens as input."""
    path = bundled / f"{net}.torchscript.onnx"
    sidecar = find_sidecar(path)
    assert sidecar is not None
    spec = load(path).inputs[0]
    preprocess = preprocess_from(sidecar).bound(spec.shape, spec.dtype)
    paths = sorted((bundled / "pictures").glob("*.png"))[:2]
    return np.concatenate([preprocess(Image.open(p).convert("RGB")) for p in paths])


@pytest.mark.parametrize("row", ROWS)
def test_a_composite_gives_zennits_relevance(bundled: Path, row: str) -> None:
    """Maps of zennit 0.5.1 in float64, by tools/peers/peers_zennit.py."""
    net, composite = row.split("/")
    box = {"low": GOLDENS["low"], "high": GOLDENS["high"]} if composite == "epsilongammabox" else {}
    found = fgcam_onnx.explain(
        bundled / f"{net}.torchscript.onnx", bundled_pictures(bundled, net), target=GOLDENS[f"{net}/target"],
        method="lrp", composite=composite, **box,
    ).map[:, ::STEP, ::STEP]  # fmt: skip
    expected = GOLDENS[row]
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-4)


def test_goldens_of_composites_differ() -> None:
    """Negative control: 1e-4 tells the composites from one another."""
    for net in ("vgg_shapes", "resnet_shapes"):
        maps = [GOLDENS[r] for r in ROWS if r.startswith(net)]
        assert len(maps) == 8
        for i, a in enumerate(maps):
            assert all(np.abs(a - b).max() > 1e-3 * np.abs(a).max() for b in maps[:i])


@pytest.mark.parametrize("name", ["deconvnet", "excitationbackprop", "guidedbackprop"])
def test_a_method_of_its_own_is_lrp_with_that_composite(name: str) -> None:
    x = images()
    own = fgcam_onnx.explain(small_cnn(), x, method=name).map
    by_composite = fgcam_onnx.explain(small_cnn(), x, method="lrp", composite=name).map
    np.testing.assert_array_equal(own, by_composite)


CONSERVING = ("alpha2beta1", "deeptaylor", "epsilonplus", "excitationbackprop", "zplus")


def unbiased() -> Any:
    """Return the small net without biases, so that nothing but stabilizers absorbs."""
    model = small_cnn()
    for tensor in model.graph.initializer:
        if tensor.name.endswith("bias"):
            tensor.raw_data = bytes(len(tensor.raw_data))
    return model


@pytest.mark.parametrize("composite", CONSERVING)
def test_relevance_is_kept_at_every_layer_where_no_bias_takes_it(composite: str) -> None:
    e = fgcam_onnx.explain(
        unbiased(), np.abs(images(3)), method="lrp", composite=composite, layers=["input", "all"], start="logit"
    )
    assert len(e.maps) > 3
    for layer, kept in e.conservation.items():
        np.testing.assert_allclose(kept, 1, rtol=0, atol=2e-3, err_msg=layer)
        np.testing.assert_allclose(e.maps[layer].sum((1, 2)), kept * e.score, rtol=1e-3, atol=1e-5)


def test_biases_take_what_is_not_kept() -> None:
    """Negative control."""
    kept = fgcam_onnx.explain(small_cnn(), images(), method="lrp").conservation["input"]
    assert np.abs(kept - 1).max() > 0.01


def test_deep_taylor_starts_from_the_score_and_gives_nothing_negative() -> None:
    x = images()
    top = fgcam_onnx.explain(unbiased(), x, method="deeptaylor")
    positive = top.score > 0
    assert positive.any()
    assert (top.map[positive] >= 0).all()
    np.testing.assert_allclose(top.map.sum((1, 2)), top.score, rtol=1e-3, atol=0)


def test_deep_taylor_of_unbounded_inputs_takes_the_square_rule() -> None:
    x = images()
    found = fgcam_onnx.explain(unbiased(), x, method="deeptaylor", bounded=False).map
    rule = linear.z_plus(bias=False)
    mine = layered("mine", convolution=rule, dense=rule, first_layer=linear.w_square(bias=False), residual="positive")
    expected = fgcam_onnx.explain(unbiased(), x, method="lrp", composite=mine, start="logit").map
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_guided_backprop_and_deconvnet_are_what_they_say_on_one_hidden_layer() -> None:
    """y = v relu(w x): the gradient, guided by sign, and without the forward mask."""
    rng = np.random.default_rng(0)
    w, v = rng.standard_normal((6, 3, 1, 1)).astype(np.float32), rng.standard_normal((4, 6)).astype(np.float32)
    nodes = [
        node("Conv", ["x", "w"], "h"),
        node("Relu", ["h"], "a"),
        node("GlobalMaxPool", ["a"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "v"], "logits", transB=1),
    ]
    model = model_of(nodes, {"w": w, "v": v}, inputs={"x": ["N", 3, 1, 2]}, outputs=["logits"])
    x = rng.standard_normal((1, 3, 1, 2)).astype(np.float32)
    h = np.einsum("oi,nihw->nohw", w[:, :, 0, 0], x)
    first = (np.maximum(h, 0).reshape(6, 2).argmax(1)[:, None] == np.arange(2)).reshape(6, 1, 2)
    for method, mask in (("guidedbackprop", h[0] > 0), ("deconvnet", True)):
        expected = np.einsum("oi,ohw->hw", w[:, :, 0, 0], np.maximum(v[2], 0)[:, None, None] * first * mask)
        np.testing.assert_allclose(
            fgcam_onnx.explain(model, x, method=method, target=2).map[0], expected, rtol=1e-5, atol=1e-6
        )


def test_the_box_defaults_to_the_pictures_own_range() -> None:
    x = images(1)
    own = fgcam_onnx.explain(small_cnn(), x, method="lrp", composite="epsilongammabox").map
    ends = {"low": float(x.min()), "high": float(x.max())}
    given = fgcam_onnx.explain(small_cnn(), x, method="lrp", composite="epsilongammabox", **ends).map
    np.testing.assert_allclose(own, given, rtol=0, atol=1e-6 * np.abs(own).max())
    wider = fgcam_onnx.explain(small_cnn(), x, method="lrp", composite="epsilongammabox", low=-9, high=(9, 8, 7)).map
    assert np.abs(own - wider).max() > 1e-3 * np.abs(own).max()


# ---- composites and settings of one's own


def test_a_composite_of_ones_own_takes_a_few_lines() -> None:
    mine = Composite(
        "mine",
        (
            (reads_input, linear.flat()),
            (op("Conv"), linear.gamma(0.5)),
            (op("Gemm"), linear.epsilon(0.1)),
            *rest(),
        ),
    )
    x = images()
    same = layered("same", first_layer=linear.flat(), convolution=linear.gamma(0.5), dense=linear.epsilon(0.1))
    found = [fgcam_onnx.explain(small_cnn(), x, method="lrp", composite=c).map for c in (mine, same)]
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0] - fgcam_onnx.explain(small_cnn(), x, method="lrp").map).max() > 1e-4


def test_a_composite_says_which_operator_it_has_no_rule_for() -> None:
    mine = Composite("mine", ((op("Gemm"), linear.epsilon()),))
    with pytest.raises(fgcam_onnx.errors.UnsupportedOperatorError, match="mine has no relevance rule for 'Flatten'"):
        fgcam_onnx.explain(small_cnn(), images(), method="lrp", composite=mine)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"composite": "epsilonplu"}, "Did you mean 'epsilonplus'"),
        ({"composite": 3}, "a name or a Composite"),
        ({"gamma": 0.1}, "lrp has no setting 'gamma'; it has composite, epsilon, bias"),
        ({"composite": "epsilongammabox", "gamma": "much"}, "gamma of lrp is of type float"),
        ({"composite": "epsilongammabox", "gamma": -1.0}, "gamma must be at least 0"),
        ({"composite": "epsilongammabox", "low": "dark"}, "low of lrp is a number or several"),
        ({"composite": layered("x", convolution=linear.flat(), dense=linear.flat()), "epsilon": 1.0}, "no setting"),
        ({"composite": "alpha2beta1", "alpha": 3.0}, "differ by 1"),
        ({"start": "one"}, "unknown start"),
        ({"residual": "half"}, "unknown residual"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        fgcam_onnx.explain(small_cnn(), images(), method="lrp", **settings)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_every_composite_explains_at_any_layer(composite: str) -> None:
    e = fgcam_onnx.explain(small_cnn(), images(), method="lrp", composite=composite, layers=["input", BASE])
    assert [m.shape for m in e.maps.values()] == [(2, 12, 10), (2, 6, 5)]
    assert all(np.abs(m).max() > 0 for m in e.maps.values())
    assert bool(e.conservation) != (composite in ("deconvnet", "guidedbackprop"))


def test_methods_of_the_family_are_in_the_table() -> None:
    family = {"lrp", "attnlrp", "cplrp", "deconvnet", "deeptaylor", "excitationbackprop", "guidedbackprop"}
    assert family <= set(METHODS)
    assert all(METHODS[name].append is not None for name in family)


# ---- starts


def test_relevance_cams_starts_are_the_formulas() -> None:
    """A net of one dense layer after the mean: the relevance of each channel by hand."""
    rng = np.random.default_rng(5)
    w = rng.standard_normal((5, 4)).astype(np.float32)
    nodes = [
        node("Relu", ["x"], "a"),
        node("GlobalAveragePool", ["a"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "w"], "logits", transB=1),
    ]
    model = model_of(nodes, {"w": w}, inputs={"x": ["N", 4, 3, 3]}, outputs=["logits"])
    x = rng.standard_normal((1, 4, 3, 3)).astype(np.float32)
    a = np.maximum(x[0], 0).astype(np.float64)
    f = a.mean((1, 2))
    logits = w @ f
    t, classes = 3, 5
    one = np.eye(classes)[t]
    p = np.exp(logits) / np.exp(logits).sum()
    starts = {
        "contrastive": np.where(one > 0, 1, -1 / classes),
        "logit": one * logits,
        "plain": one,
        "sglrp": p * (one - p[t]),
    }
    contributions = np.maximum(w, 0) * f
    z = contributions.sum(1, keepdims=True)
    for start, r in starts.items():
        relevance = (contributions / np.where(z == 0, 1, z) * r[:, None]).sum(0)
        spread = a / a.sum((1, 2), keepdims=True) * relevance[:, None, None]
        expected = (spread.mean((1, 2), keepdims=True) * a).sum(0)
        found = fgcam_onnx.explain(model, x, method="relevancecam", layers="a", start=start, target=t).map[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max(), err_msg=start)
    default = fgcam_onnx.explain(model, x, method="relevancecam", layers="a", target=t).map
    contrastive = fgcam_onnx.explain(model, x, method="relevancecam", layers="a", target=t, start="contrastive").map
    np.testing.assert_array_equal(default, contrastive)
