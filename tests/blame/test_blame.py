"""A damaged layer is blamed, with what is odd about it; what is not damaged is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundled import first_pictures
from mixed_nets import Weights, between_quantizers, net, pictures, weights

from fgcam_onnx import Explainer, load
from fgcam_onnx.blame import Drift, Profile, blame, drift
from fgcam_onnx.errors import InputError

SOUND = weights(3)
TENSORS = {"conv0": "conv0.relu", "conv1": "conv1.relu", "conv2": "conv2", "conv3": "conv3.relu", "dense": "logits"}


def blamed(candidate: Weights, *, nhwc: bool = False, **options: int) -> Profile:
    x = pictures()
    made = [Explainer(m, method="gradcam", threads=1) for m in (net(SOUND), net(candidate, prefix="c/", nhwc=nhwc))]
    theirs = [x.transpose(0, 2, 3, 1)] if nhwc else None
    return blame(*made, pictures=[x], candidate_pictures=theirs, **options)


def changed(layer: str, how: str) -> tuple[Weights, str]:
    """Return weights with one layer damaged, and what has to be said of it."""
    w, b = (a.copy() for a in SOUND[layer])
    rows = np.moveaxis(w, -1, 0) if layer == "dense" else w
    if how == "negated":
        rows *= -1
        return SOUND | {layer: (w, b)}, "the weights have the other sign"
    if how == "tripled":
        rows *= 3
        return SOUND | {layer: (w, b)}, "the weights are 3 times the reference's"
    if how == "dead":
        rows[2] = 0
        return SOUND | {layer: (w, b)}, "channel 2 is dead: all weights are 0"
    if how == "exchanged":
        rows[[1, 4]] = rows[[4, 1]]
        return SOUND | {layer: (w, b)}, "channels 1 and 4 are exchanged"
    b[:] = 0
    return SOUND | {layer: (w, b)}, "the bias differs by 100% of its size"


@pytest.mark.parametrize(
    ("layer", "how", "nhwc"),
    [
        ("conv0", "negated", False),
        ("conv1", "tripled", False),
        ("conv2", "dead", False),
        ("conv3", "exchanged", True),
        ("dense", "exchanged", True),
        ("conv1", "unbiased", True),
    ],
)
def test_a_damaged_layer_is_blamed_for_all_of_the_drift_and_said_to_be_what_it_is(
    layer: str, how: str, nhwc: bool
) -> None:
    candidate, said = changed(layer, how)
    profile = blamed(candidate, nhwc=nhwc, cuts=3, singles=2)
    first = profile.layers[0]
    assert first.name == TENSORS[layer]
    assert first.share == pytest.approx(1, abs=1e-3)
    assert said in first.oddities
    assert all(b.share < 0.05 for b in profile.layers[1:])


def test_what_a_layer_does_is_told_from_what_it_gets() -> None:
    candidate, _ = changed("conv1", "negated")
    profile = blamed(candidate, cuts=6, singles=1)
    at = [p.reference for p in profile.depth].index("conv1.relu")
    assert min(p.alone for i, p in enumerate(profile.depth) if i != at) > 60
    assert profile.depth[at].alone < 10
    assert all(p.sqnr < 30 for p in profile.depth[at:])
    known = [(i, p) for i, p in enumerate(profile.depth) if p.before is not None and p.behind is not None]
    assert len(known) >= 3
    for i, p in known:
        assert p.before is not None and p.behind is not None  # noqa: PT018
        assert (p.before.prediction > 0.01) == (i >= at)
        assert (p.behind.prediction > 0.01) == (i < at)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (pictures()[:, ::-1], "channels 0 and 2 are exchanged"),
        (pictures() + 0.5, "the results are shifted, by up to 0.5"),
        (pictures() * 2, "the results are 2 times the reference's"),
    ],
    ids=["BGR", "another mean", "another scale"],
)
def test_a_wrong_preprocessing_is_an_odd_input(theirs: np.ndarray, said: str) -> None:
    e = Explainer(net(SOUND), method="gradcam", threads=1)
    first = blame(e, e, pictures=[pictures()], candidate_pictures=[theirs], cuts=2, singles=2).layers[0]
    assert first.name == "x"
    assert first.share == pytest.approx(1, abs=1e-3)
    assert first.oddities == (said,)


def test_nobody_is_blamed_for_the_rounding_of_floats() -> None:
    profile = blamed(SOUND, nhwc=True)
    assert profile.drift.prediction < 1e-5
    assert all(b.share == 0 for b in profile.layers)
    assert profile.splices == 1


def test_layers_that_undo_one_another_are_one() -> None:
    """Weights equalized across two layers: each alone would be blamed for what the next takes back."""
    (w, b), (v, c) = SOUND["conv1"], SOUND["conv2"]
    factors = np.geomspace(0.2, 5, 8).astype(np.float32)
    equalized = {
        "conv1": (w * factors[:, None, None, None], b * factors),
        "conv2": (v / factors[None, :, None, None], c),
    }
    sound = blamed(SOUND | equalized)
    assert "conv1.relu" not in [p.reference for p in sound.depth]
    assert all(b.share < 1e-3 for b in sound.layers)
    damaged = blamed(SOUND | equalized | {"conv3": changed("conv3", "negated")[0]["conv3"]}, cuts=3, singles=2)
    assert damaged.layers[0].name == "conv3.relu"


def test_a_saturating_quantizer_is_blamed_and_named() -> None:
    x = pictures()
    ranges = {"conv0.relu": (0.0, 6.0), "conv1.relu": (0.0, 0.3), "conv2": (-6.0, 6.0), "conv3.relu": (0.0, 8.0)}
    made = (
        Explainer(net(SOUND), method="gradcam", threads=1),
        Explainer(between_quantizers(SOUND, ranges=ranges), method="gradcam", threads=1),
    )
    first = blame(*made, pictures=[x], cuts=4, singles=3).layers[0]
    assert first.name == "conv1.relu"
    assert first.share > 0.6
    assert any(s.startswith("the quantizer behind it ends at 0 and 0.3") for s in first.oddities)


@pytest.mark.parametrize("other", ["vgg_shapes.keras", "vgg_shapes.torchscript"])
def test_the_bundled_nets_of_all_exporters_are_matched(bundled: Path, other: str) -> None:
    names = ("vgg_shapes.dynamo", other)
    made = [Explainer(bundled / f"{n}.onnx", method="gradcam", threads=1) for n in names]
    x = [first_pictures(bundled, n, 1) for n in names]
    profile = blame(*made, pictures=[x[0]], candidate_pictures=[x[1]])
    assert profile.alone == profile.alone_in_candidate == ()
    products = [n for n in load(bundled / "vgg_shapes.dynamo.onnx").nodes if n.op_type in ("Conv", "Gemm")]
    assert len(profile.depth) > len(products)
    assert min(p.alone for p in profile.depth) > 100
    assert max(profile.drift.prediction, profile.drift.map) < 1e-4


def test_the_drift_is_what_its_formulas_say() -> None:
    a, b = (Explainer(net(weights(s)), method="gradcam", threads=1)(pictures()) for s in (3, 4))
    found = drift(a, b)
    prediction, maps = [], []
    for k in range(3):
        p, q = (e.scores[k].astype(np.float64) for e in (a, b))
        prediction.append(np.sqrt((((q - q.mean()) - (p - p.mean())) ** 2).sum() / ((p - p.mean()) ** 2).sum()))
        ranks = [np.argsort(np.argsort(e.map[k].ravel(), kind="stable"), kind="stable") for e in (a, b)]
        n = len(ranks[0])
        maps.append(6 * ((ranks[0] - ranks[1]) ** 2).sum() / (n * (n**2 - 1)))
    assert found.prediction == pytest.approx(np.mean(prediction), rel=1e-6)
    assert found.map == pytest.approx(np.mean(maps), abs=0.02)
    assert drift(a, a) == Drift(0.0, pytest.approx(0.0, abs=1e-12))


def test_differently_many_pictures_are_refused() -> None:
    e = Explainer(net(SOUND), method="gradcam", threads=1)
    with pytest.raises(InputError, match="1 pictures for the reference and 2"):
        blame(e, e, pictures=[pictures()], candidate_pictures=[pictures(), pictures()])
    with pytest.raises(InputError, match="0 pictures"):
        blame(e, e, pictures=[])
