"""A splice of two nets of one architecture is the net with these layers' weights: its answer and its map."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from mixed_nets import LAYERS, between_quantizers, mixed, net, pictures, weights
from onnx import ModelProto

from fgcam_onnx import Explainer, load
from fgcam_onnx.blame.drift import Drift, drift
from fgcam_onnx.blame.spliced import Splices, both_settled
from fgcam_onnx.errors import OptionError
from fgcam_onnx.explanation import Explanation
from fgcam_onnx.saving.half import halved

ENDS = {"conv0": 1, "conv1": 2, "conv2": 3, "sum": 4, "conv3": 5, "mean": 6, "dense": 7}
"""Where each layer stands among those of the skeleton; the input is 0."""

FIRST, SECOND = weights(0), weights(1)


def splices(*, nhwc: bool, method: str = "gradcam", batch: int | str = "N") -> Splices:
    x = pictures()
    candidate = net(SECOND, prefix="other/", nhwc=nhwc, batch=batch)
    made = [Explainer(m, method=method, threads=1) for m in (net(FIRST), candidate)]
    theirs = x.transpose(0, 2, 3, 1) if nhwc else x
    kept: list[Explanation] = []

    def keep(_: Explanation, other: Explanation) -> Drift:
        kept.append(other)
        return Drift(1.0, 1.0)

    found = Splices.of(*both_settled(*made, pictures=x, candidate_pictures=theirs), measure=keep)
    object.__setattr__(found, "kept", kept)
    return found


def explained(found: Splices, taken: set[int]) -> Explanation:
    found.drift(taken)
    return found.kept[-1]  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("nhwc", [False, True], ids=["same layout", "NHWC candidate"])
@pytest.mark.parametrize(
    "names",
    [("conv0",), ("conv1", "conv2"), ("conv0", "conv1", "conv2"), ("conv3",), ("dense",), ("conv0", "dense"), LAYERS],
    ids=" ".join,
)
def test_a_splice_is_the_net_with_these_weights(names: tuple[str, ...], nhwc: bool) -> None:
    found = splices(nhwc=nhwc)
    e = explained(found, {ENDS[n] for n in names} | {0})
    whole = Explainer(net(mixed(FIRST, SECOND, names)), method="gradcam", threads=1)
    expected = whole(pictures(), target=[int(t) for t in found.truth.target])
    np.testing.assert_allclose(e.scores, expected.scores, rtol=1e-4, atol=1e-5)
    (maps,) = e.maps.values()
    np.testing.assert_allclose(maps, expected.map, rtol=1e-3, atol=1e-5 * np.abs(expected.map).max())


def test_other_weights_are_noticed() -> None:
    """Negative control."""
    e = explained(splices(nhwc=False), {ENDS["conv1"]})
    other = Explainer(net(mixed(FIRST, SECOND, ["conv2"])), method="gradcam", threads=1)(pictures())
    assert np.abs(e.scores - other.scores).max() > 0.1


def test_a_map_at_the_input_goes_back_through_both_parts() -> None:
    found = splices(nhwc=True, method="inputxgradient")
    e = explained(found, {0, 1, 2})
    whole = Explainer(net(mixed(FIRST, SECOND, ["conv0", "conv1"])), method="inputxgradient", threads=1)
    expected = whole(pictures(), target=[int(t) for t in found.truth.target])
    (maps,) = e.maps.values()
    np.testing.assert_allclose(maps, expected.map, rtol=1e-3, atol=1e-5 * np.abs(expected.map).max())


def test_a_batch_that_one_model_fixes_is_that_of_the_splice() -> None:
    found = splices(nhwc=False, batch=2)
    e = explained(found, {0, 1, 2, 3})
    whole = Explainer(net(mixed(FIRST, SECOND, ["conv0", "conv1", "conv2"])), method="gradcam", threads=1)
    np.testing.assert_allclose(e.scores, whole(pictures()).scores, rtol=1e-4, atol=1e-5)


def test_two_fixed_batches_are_refused() -> None:
    made = [Explainer(net(FIRST, batch=n), method="gradcam", threads=1) for n in (2, 3)]
    with pytest.raises(OptionError, match="takes 2 images at a time and the candidate 3"):
        both_settled(*made, pictures=pictures(), candidate_pictures=pictures())


def dynamic(folder: Path) -> ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnxruntime import quantization

        onnx.save(net(FIRST), folder / "float.onnx")
        quantization.quantize_dynamic(str(folder / "float.onnx"), str(folder / "dynamic.onnx"))
    return onnx.load(folder / "dynamic.onnx")


FORMS: dict[str, tuple[Callable[[Path], ModelProto], float]] = {
    "half precision": (lambda _: halved(load(net(FIRST))).standalone(), 0.01),
    "a newer opset": (lambda _: net(FIRST, opset=21), 1e-5),
    "dynamic int8": (dynamic, 0.1),
    "QDQ": (lambda _: between_quantizers(FIRST, ranges=dict.fromkeys(("conv0.relu", "sum.relu"), (0.0, 9.0))), 0.1),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_net_is_matched_and_its_splices_drift_little(form: str, tmp_path: Path) -> None:
    make, most = FORMS[form]
    made = [Explainer(m, method="gradcam", threads=1) for m in (net(FIRST), make(tmp_path))]
    found = Splices.of(*both_settled(*made, pictures=pictures(), candidate_pictures=pictures()), measure=drift)
    assert found.matching.alone == found.matching.alone_in_candidate == ()
    assert found.depth == 8
    for taken in ([0, 1], [3, 4, 5], [6, 7], range(8)):
        assert found.drift(taken).prediction < most
        assert found.drift(taken).map < 2 * most


def test_every_layer_is_matched_and_each_alone_is_what_its_weights_make_of_the_references_inputs() -> None:
    found = splices(nhwc=True)
    assert found.matching.alone == found.matching.alone_in_candidate == ()
    assert found.depth == 8
    for mine, theirs in found.alone(range(8)):
        for a, b in zip(mine, theirs, strict=True):
            assert a.size == b.size
    (a, b), *_ = found.alone([ENDS["conv3"]])
    whole = Explainer(net(mixed(FIRST, SECOND, ["conv3"])), threads=1)
    taps = Splices.of(*both_settled(whole, whole, pictures=pictures(), candidate_pictures=pictures()), measure=drift)
    (expected, _), *_ = taps.together()
    np.testing.assert_allclose(b[0], expected[ENDS["conv3"]], rtol=1e-4, atol=1e-5)
    assert np.abs(a[0] - b[0]).max() > 0.1


def test_nets_without_a_common_layer_are_refused() -> None:
    wide = {n: (np.repeat(w, 2, 0), np.repeat(b, 2)) for n, (w, b) in FIRST.items() if n != "dense"}
    wide = {n: (w if n == "conv0" else np.repeat(w, 2, 1), b) for n, (w, b) in wide.items()}
    wide["dense"] = (np.repeat(FIRST["dense"][0], 2, 0), FIRST["dense"][1])
    made = [Explainer(m, method="gradcam", threads=1) for m in (net(FIRST), net(wide, prefix="other/"))]
    settled = both_settled(*made, pictures=pictures(), candidate_pictures=pictures())
    with pytest.raises(OptionError, match="no layers in common"):
        Splices.of(*settled, measure=drift)
