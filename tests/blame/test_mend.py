"""A damaged candidate is mended with the fewest layers in float, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from mixed_nets import Weights, between_quantizers, net, pictures, weights

from fgcam_onnx import Explainer, load
from fgcam_onnx.blame import Mended, blame, drift, mend
from fgcam_onnx.blame.mending import integer_products

SOUND = weights(3)
RANGES = {"x": (-3.0, 3.0), "conv0.relu": (0.0, 6.0), "conv1.relu": (0.0, 6.0), "conv2": (-6.0, 6.0)}
RANGES |= {"sum.relu": (0.0, 8.0), "conv3.relu": (0.0, 8.0)}


def quantized(of: Weights, **ranges: tuple[float, float]) -> Explainer:
    return Explainer(between_quantizers(of, ranges=RANGES | ranges), method="gradcam", threads=1)


def mended(candidate: Explainer, *, most: float, keep: float = 0.6) -> tuple[Mended, Callable[[Explainer], float]]:
    reference = Explainer(net(SOUND), method="gradcam", threads=1)
    x, held = pictures(), pictures(count=5, seed=2)
    truth = reference(held)

    def far(e: Explainer) -> float:
        return drift(truth, e(held, target=[int(t) for t in truth.target])).prediction

    profile = blame(reference, candidate, pictures=[x], cuts=4, singles=3)
    found = mend(reference, candidate, profile=profile, pictures=[x], enough=lambda e: far(e) <= most, keep=keep)
    return found, far


def negated(layer: str) -> Weights:
    w, b = SOUND[layer]
    return SOUND | {layer: (-w, b)}


def test_one_bad_layer_is_put_back_in_float_and_the_others_stay_in_integers() -> None:
    candidate = quantized(negated("conv2"))
    found, far = mended(candidate, most=0.1)
    assert far(candidate) > 0.5
    assert found.model is not None
    assert [b.name for b in found.floats] == ["conv2"]
    assert found.exclude == ("conv2_Conv",)
    assert (found.kept, found.of) == (2, 3)
    onnx.checker.check_model(found.model, full_check=True)
    assert far(Explainer(found.model, method="gradcam", threads=1)) <= 0.1
    assert found.size[1] > found.size[0]
    assert "1 layer in float ('conv2_Conv'): 2 of 3 products of integers are left" in found.said
    kept = {i.name: onnx.numpy_helper.to_array(i) for i in found.model.graph.initializer}
    assert any(a.shape == SOUND["conv2"][0].shape and np.array_equal(a, SOUND["conv2"][0]) for a in kept.values())


def test_a_bad_quantizer_is_taken_out_with_its_layer() -> None:
    found, _ = mended(quantized(SOUND, **{"conv0.relu": (0.0, 0.2)}), most=0.1, keep=0.3)
    assert found.model is not None
    assert [b.name for b in found.floats] == ["conv0.relu"]
    scales = [onnx.numpy_helper.to_array(i) for i in found.model.graph.initializer if i.name == "conv0.relu.s"]
    assert scales == []
    assert any(i.name == "conv1.relu.s" for i in found.model.graph.initializer)


def test_where_nothing_helps_nothing_is_written() -> None:
    found, _ = mended(quantized(negated("conv0") | {"conv3": negated("conv3")["conv3"]}), most=1e-6)
    assert found.model is None
    assert found.said.startswith("nothing helps: ")
    assert found.exclude == ()


def test_what_will_do_stays_as_it_is() -> None:
    found, far = mended(quantized(SOUND), most=0.2)
    assert found.model is None
    assert found.said == "the candidate will do as it is: nothing was mended"
    assert far(quantized(SOUND)) <= 0.2


@pytest.mark.parametrize(("ranges", "count"), [(RANGES, 3), ({}, 0), ({"conv0.relu": (0.0, 1.0)}, 1)])
def test_a_product_is_of_integers_where_both_operands_are_dequantized(
    ranges: dict[str, tuple[float, float]], count: int
) -> None:
    assert integer_products(load(between_quantizers(SOUND, ranges=ranges))) == count
