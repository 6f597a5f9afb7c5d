"""Segmentations, tokens, steps and signals that a graph makes pictures of: what is a layer, and what its maps are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from parsed import drawn, parsed, plain, slope

from fgcam_onnx import Explainer, explain
from fgcam_onnx.errors import LayerError, TargetError
from fgcam_onnx.heads import Stated
from fgcam_onnx.layers.tokens import Grid
from fgcam_onnx.targets import Region

Shape = tuple[int, ...]


@pytest.mark.parametrize(("size", "stated"), [((5, 4, 6), None), ((12,), "map")])
def test_a_segmentation_is_explained_by_its_region(size: Shape, stated: str | None) -> None:
    axes = len(size)
    pads = ",".join("1" * 2 * axes)
    model = parsed(
        f"""g (float[N,2,{",".join(map(str, size))}] x) => (float[N,3,{",".join(map(str, size))}] y) {{
        a = Conv<pads=[{pads}]>(x, K)  r = Relu(a)  y = Conv<pads=[{pads}]>(r, L) }}""",
        K=drawn(50, 4, 2, *[3] * axes), L=drawn(51, 3, 4, *[3] * axes),
    )  # fmt: skip
    x = drawn(52, 1, 2, *size)
    explainer = Explainer(model, method="inputxgradient", head=Stated(stated))
    assert explainer.head.kind == "map"
    logits = plain(model, {"x": x})
    inside = (logits.argmax(1) == 1)[0]
    assert inside.any()
    e = explainer(x, target=1)
    assert_allclose(e.score, (logits[0, 1] * inside).sum(), rtol=1e-4, atol=1e-5)
    given = explainer(x, target=Region(1, mask=inside, axis=1)).map
    assert_allclose(e.map, given, rtol=1e-5, atol=1e-6)
    moved = [plain(model, {"x": (1 + step) * x})[0, 1][inside].sum(dtype=np.float64) for step in (1e-3, -1e-3)]
    assert_allclose(e.map.sum(), (moved[0] - moved[1]) / 2e-3, rtol=1e-2, atol=1e-2)
    with pytest.raises(TargetError, match="a box is of pictures"):
        Explainer(model, method="saliency", head=Stated("map"))(x, target=Region(1, box=(0, 0, 3, 3)))


def test_tokens_of_a_clip_are_a_grid_of_three_axes_and_the_class_token_is_left_out() -> None:
    """Patches of 2 x 4 x 4 positions, a class token in front, and a pooling of the patches beside it."""
    model = parsed(
        """g (float[N,3,4,12,8] x) => (float[N,3] y) { p = Conv<strides=[2,4,4]>(x, K)  f = Reshape(p, F)
        t = Transpose<perm=[0,2,1]>(f)  c = Mul(t, zero)  m = ReduceMean<keepdims=1>(c, one)  d = Add(m, token)
        s = Concat<axis=1>(d, t)  n = LayerNormalization<axis=-1>(s, g)  h = MatMul(n, W)  r = Relu(h)
        i = Slice(r, i0, i1, one)  j = Slice(r, i1, end, one)  k = Transpose<perm=[0,2,1]>(j)  q = Reshape(k, P)
        o = MaxPool<kernel_shape=[1,3,1],strides=[1,3,1]>(q)  u = Reshape(o, F)  v = Transpose<perm=[0,2,1]>(u)
        w = Concat<axis=1>(i, v)  l = LayerNormalization<axis=-1>(w, g6)  e = ReduceMean<keepdims=0>(l, one)
        y = MatMul(e, V) }""",
        K=drawn(60, 5, 3, 2, 4, 4), F=np.array([0, 0, -1]), zero=np.float32(0), one=np.array([1]),
        token=drawn(61, 1, 1, 5), g=drawn(62, 5), W=drawn(63, 5, 6), i0=np.array([0]), i1=np.array([1]),
        end=np.array([99]), P=np.array([0, 6, 2, 3, 2]), g6=drawn(64, 6), V=drawn(65, 6, 3),
    )  # fmt: skip
    explainer = Explainer(model, method="gradcam", layers=["n", "l"])
    first, last = explainer.options()[0].layers
    assert (first.grid, last.grid) == (Grid(1, 0, (2, 3, 2)), Grid(1, 0, (2, 1, 2)))
    assert Explainer(model, method="gradcam").options()[0].base_layer == last
    e = explainer(drawn(66, 2, 3, 4, 12, 8), target=0)
    assert [m.shape for m in e.maps.values()] == [(2, 2, 3, 2), (2, 2, 1, 2)]
    assert [x.grid for x in Explainer(model, method="gradcam", layers="n", grid=(3, 2, 2)).options()[0].layers] == [
        Grid(1, 0, (3, 2, 2))
    ]


def test_a_signal_may_have_its_channels_last() -> None:
    """Steps that a product with weights embeds are those of the same net by a convolution of one step."""
    weights = {"W": drawn(70, 4, 6), "V": drawn(71, 6, 3), "one": np.array([1])}
    last = parsed(
        "g (float[N,9,4] x) => (float[N,3] y) { h = MatMul(x, W)  r = Relu(h)  m = ReduceMean<keepdims=0>(r, one)"
        "  y = MatMul(m, V) }",
        **weights,
    )
    first = parsed(
        "g (float[N,4,9] x) => (float[N,3] y) { h = Conv(x, K)  r = Relu(h)  m = ReduceMean<keepdims=0>(r, two)"
        "  y = MatMul(m, V) }",
        K=weights["W"].T[..., None].copy(), V=weights["V"], two=np.array([2]),
    )  # fmt: skip
    x = drawn(72, 2, 9, 4)
    for method in ("saliency", "gradcam", "fgcam", "scorecam", "ablationcam", "reciprocam", "occlusion"):
        found, expected = (
            Explainer(model, method=method, **({"window": 3, "stride": 2} if method == "occlusion" else {}))(
                given, target=2
            ).map
            for model, given in ((last, x), (first, np.ascontiguousarray(x.transpose(0, 2, 1))))
        )
        assert_allclose(found, expected, rtol=0, atol=5e-6 * max(1.0, float(np.abs(expected).max())))


def test_masks_of_a_layer_of_other_axes_are_refused() -> None:
    """A picture made of a signal, as spectrograms are."""
    model = parsed(
        """g (float[N,1,32] x) => (float[N,3] y) { a = Conv<strides=[2]>(x, K)  s = Abs(a)  u = Unsqueeze(s, one)
        b = Conv(u, L)  r = Relu(b)  p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  y = MatMul(f, V) }""",
        K=drawn(80, 8, 1, 4), one=np.array([1]), L=drawn(81, 4, 1, 3, 3), V=drawn(82, 4, 3),
    )  # fmt: skip
    x = drawn(83, 1, 1, 32)
    assert explain(model, x, method="gradcam", target=1).map.shape == (1, 6, 13)
    assert explain(model, x, method="fgcam", target=1).map.shape == (1, 32)
    with pytest.raises(LayerError, match="no masks of an input of 32"):
        explain(model, x, method="scorecam", target=1)


def test_steps_that_a_recurrent_net_reads_have_their_channels_last() -> None:
    model = parsed(
        """g (float[N,5,4] x) => (float[N,3] y) { t = Transpose<perm=[1,0,2]>(x)  a, h, c = LSTM<hidden_size=3>(t, W, R)
        s = Squeeze(h, z)  y = MatMul(s, V) }""",
        W=drawn(91, 1, 12, 4), R=drawn(92, 1, 12, 3), z=np.array([0]), V=drawn(93, 3, 3),
    )  # fmt: skip
    x = drawn(94, 2, 5, 4)
    e = explain(model, x, method="inputxgradient", target=1)
    expected = (x * slope(model, {"x": x}, "x", at=(0, 1)))[0].sum(-1)
    assert_allclose(e.map[0], expected, rtol=1e-3, atol=1e-5)


def test_a_picture_in_one_channel_of_a_signal_is_that_picture() -> None:
    weights = {"W": drawn(95, 4, 3, 3, 3), "V": drawn(96, 4, 3)}
    text = "a = Conv(i, W)  r = Relu(a)  p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  y = MatMul(f, V)"
    flat = parsed(
        f"g (float[N,1,90] x) => (float[N,3] y) {{ i = Reshape(x, S)  {text} }}", S=np.array([-1, 3, 6, 5]), **weights
    )
    whole = parsed(f"g (float[N,3,6,5] x) => (float[N,3] y) {{ i = Identity(x)  {text} }}", **weights)
    x = drawn(97, 2, 1, 90)
    found, expected = (
        explain(m, v, method="fgcam", target=1).map for m, v in ((flat, x), (whole, x.reshape(2, 3, 6, 5)))
    )
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
