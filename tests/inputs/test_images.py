"""Which images an answer is of: bags with one answer, batches on another axis, outputs without a batch axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import ModelProto
from parsed import drawn, frozen, parsed, plain, slope

from fgcam_onnx import Explainer, explain, export
from fgcam_onnx.errors import InputError, LayerError, OptionError, TargetError
from fgcam_onnx.layers.flow import flow_of
from fgcam_onnx.layers.images import SCATTERED, Lie, images_of
from fgcam_onnx.layers.layers import candidate_layers
from fgcam_onnx.loading.loading import load
from fgcam_onnx.targets import Element

CONV = "a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  p = GlobalAveragePool(act)  v = Flatten<axis=1>(p)"
WEIGHTS = {"W": drawn(1, 4, 3, 3, 3), "V": drawn(2, 4, 3)}


def bag(tiles: Any = "tiles", *, how: str = "b = ReduceMax<keepdims=1>(v, zero)") -> ModelProto:
    """Return a net that gives one answer for all tiles."""
    text = f"g (float[{tiles},3,6,5] x) => (float[1,3] y) {{ {CONV} {how}  y = MatMul(b, V) }}"
    named = {"zero": np.array([0]), "A": drawn(3, 4, 1), "order": np.array([1, -1])}
    return parsed(text, **WEIGHTS, **{n: w for n, w in named.items() if n in text})


ATTENTION = "e = MatMul(v, A)  s = Softmax<axis=0>(e)  t = Transpose<perm=[1,0]>(s)  b = MatMul(t, v)"
FLAT = "f = ReduceSum<keepdims=0>(v, zero)  b = Reshape(f, order)"


@pytest.mark.parametrize("how", ["b = ReduceMax<keepdims=1>(v, zero)", ATTENTION, FLAT])
@pytest.mark.parametrize("tiles", ["tiles", 5])
def test_a_bag_has_a_map_for_each_tile(tiles: Any, how: str) -> None:
    model, x = bag(tiles, how=how), drawn(4, 5, 3, 6, 5)
    e = explain(model, x, method="saliency", target=1)
    assert_allclose(e.map, np.abs(slope(model, {"x": x}, "x", at=(0, 1))).max(axis=1), rtol=1e-4, atol=1e-6)
    assert_allclose(e.scores, plain(model, {"x": x}), rtol=1e-5, atol=1e-6)
    assert e.target.tolist() == [1]
    top = explain(model, x, method="gradcam")
    assert top.target.tolist() == plain(model, {"x": x}).argmax(axis=1).tolist()
    assert top.map.shape == (5, 6, 5)


@pytest.mark.parametrize("tiles", ["tiles", 4])
def test_grad_cam_of_a_bag_is_the_formula_on_each_tile(tiles: Any) -> None:
    """Of an average over the tiles, each tile's gradient is that of the tile alone, divided by their number."""
    model = bag(tiles, how="b = ReduceMean<keepdims=1>(v, zero)")
    single = parsed(f"g (float[N,3,6,5] x) => (float[N,3] y) {{ {CONV} y = MatMul(v, V) }}", **WEIGHTS)
    x = drawn(5, 4, 3, 6, 5)
    for method in ("gradcam", "hirescam", "layercam", "inputxgradient"):
        found, expected = (explain(m, x, method=method, target=2).map for m in (model, single))
        assert_allclose(found, expected / 4, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["fgcam", "lrp"])
def test_the_tiles_of_a_bag_share_what_is_conserved(method: str) -> None:
    x = drawn(6, 5, 3, 6, 5)
    e = explain(bag(how=ATTENTION), x, method=method, target=0)
    assert e.map.shape == (5, 6, 5)
    (conserved,) = e.conservation["input"]
    assert 0.3 < conserved < 1.7


def test_tiles_of_a_fixed_number_are_explained_bag_by_bag() -> None:
    model, x = bag(5), drawn(7, 10, 3, 6, 5)
    e = explain(model, x, method="gradcam", target=[0, 2])
    for i, target in enumerate((0, 2)):
        one = explain(model, x[5 * i : 5 * i + 5], method="gradcam", target=target)
        assert_allclose(e.map[5 * i : 5 * i + 5], one.map, rtol=1e-5, atol=1e-7)
    with pytest.raises(InputError, match="one answer for 5 images: 7 are not a multiple"):
        explain(model, x[:7], method="gradcam")


@pytest.mark.parametrize(
    "method", ["scorecam", "ablationcam", "occlusion", "rise", "smoothgrad", "integratedgradients"]
)
def test_what_changes_one_image_again_and_again_refuses_bags(method: str) -> None:
    settings = {"window": 3, "stride": 3} if method == "occlusion" else {}
    with pytest.raises(OptionError, match="one answer for a whole bag"):
        explain(bag(), drawn(8, 5, 3, 6, 5), method=method, target=1, **settings)


def test_several_classes_of_a_bag_are_refused_not_mixed_up() -> None:
    with pytest.raises(TargetError, match="one class at a time"):
        explain(bag(), drawn(8, 5, 3, 6, 5), method="gradcam", target=[[0, 1]])


@pytest.mark.parametrize("tiles", ["tiles", 5])
def test_a_bags_exported_file_has_a_map_for_each_tile(tiles: Any, tmp_path: Path) -> None:
    x = drawn(9, 5, 3, 6, 5)
    path = export(bag(tiles), tmp_path / "bag.onnx", method="fgcam", target=1).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found, target = session.run(["explanation", "explanation_target"], {"x": x})
    assert_allclose(found, explain(bag(tiles), x, method="fgcam", target=1).map, rtol=1e-4, atol=1e-6)
    assert target.tolist() == [1]


def sequence_first(count: Any = "N") -> ModelProto:
    """Return a reader of lines: its output is (columns, N, letters)."""
    return parsed(
        f"""g (float[{count},3,6,5] x) => (float[T,M,3] y) {{
        a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  m = ReduceMean<keepdims=0>(act, two)
        t = Transpose<perm=[2,0,1]>(m)  y = MatMul(t, V) }}""",
        **WEIGHTS, two=np.array([2]),
    )  # fmt: skip


@pytest.mark.parametrize("count", ["N", 2])
def test_answers_that_lie_along_another_axis_are_found(count: Any) -> None:
    model, x = sequence_first(count), drawn(10, 2, 3, 6, 5)
    e = explain(model, x, method="saliency", target=Element((4, 1)))
    assert_allclose(e.scores, plain(model, {"x": x}).transpose(1, 0, 2).reshape(2, 15), rtol=1e-5, atol=1e-6)
    for i in range(2):
        expected = np.abs(slope(model, {"x": x}, "x", at=(4, i, 1))).max(axis=1)
        assert_allclose(e.map[i], expected[i], rtol=1e-4, atol=1e-6)
        assert not expected[1 - i].any()
    (m,) = explain(model, x, method="scorecam", target=Element((4, 1))).maps.values()
    assert m.shape == (2, 6, 5)
    assert 0.5 < explain(model, x, method="lrp", target=Element((4, 1))).conservation["input"][0] < 1.5


def test_an_output_without_a_batch_axis_has_all_its_classes() -> None:
    model = parsed(
        f"g (float[1,3,6,5] x) => (float[3] y) {{ {CONV} w = MatMul(v, V)  y = Reshape(w, order) }}",
        **WEIGHTS, order=np.array([-1]),
    )  # fmt: skip
    x = drawn(11, 1, 3, 6, 5)
    found = explain(model, x, method="saliency", target=2)
    assert found.scores.shape == (1, 3)
    assert_allclose(found.map, np.abs(slope(model, {"x": x}, "x", at=2)).max(axis=1), rtol=1e-4, atol=1e-6)


def test_images_that_change_one_anothers_answers_are_explained_alone() -> None:
    """The net divides by the largest value of the whole batch."""
    model = parsed(
        """g (float[N,3,6,5] x) => (float[N,3] y) { top = ReduceMax<keepdims=1>(x)  s = Div(x, top)
        a = Conv<pads=[1,1,1,1]>(s, W)  act = Relu(a)  p = GlobalAveragePool(act)  v = Flatten<axis=1>(p)
        y = MatMul(v, V) }""",
        **WEIGHTS,
    )  # fmt: skip
    x = drawn(12, 2, 3, 6, 5)
    with pytest.raises(InputError, match="depend on one another"):
        explain(model, x, method="saliency", target=1)
    found = explain(model, x[:1], method="saliency", target=1).map
    assert_allclose(found, np.abs(slope(model, {"x": x[:1]}, "x", at=(0, 1))).max(axis=1), rtol=1e-3, atol=1e-5)


def test_frames_folded_into_the_batch_have_a_map_each() -> None:
    model = parsed(
        f"""g (float[N,4,3,6,5] clip) => (float[N,3] y) {{ x = Reshape(clip, frames) {CONV}
        back = Reshape(v, clips)  b = ReduceMean<keepdims=0>(back, one)  y = MatMul(b, V) }}""",
        **WEIGHTS, frames=np.array([-1, 3, 6, 5]), clips=np.array([-1, 4, 4]), one=np.array([1]),
    )  # fmt: skip
    clips = drawn(13, 2, 4, 3, 6, 5)
    e = explain(model, clips, method="gradcam", target=1)
    single = parsed(f"g (float[N,3,6,5] x) => (float[N,3] y) {{ {CONV} y = MatMul(v, V) }}", **WEIGHTS)
    frames = explain(single, clips.reshape(8, 3, 6, 5), method="gradcam", target=1).map
    assert e.target.tolist() == [1, 1]
    assert_allclose(e.map, frames / 4, rtol=1e-4, atol=1e-6)
    refined = Explainer(model, method="fgcam", denoise=True, layers="act", batch=1)(clips, target=1)
    together = Explainer(model, method="fgcam", denoise=True, layers="act")(clips, target=1)
    assert_allclose(refined.map, together.map, rtol=1e-4, atol=1e-6)


def test_two_pictures_stacked_along_the_batch_are_no_layer_of_one() -> None:
    model = parsed(
        """g (float[N,3,6,5] left, float[N,3,6,5] right) => (float[N,4] y) { x = Concat<axis=0>(left, right)
        a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  p = GlobalAveragePool(act)  v = Flatten<axis=1>(p)
        l, r = Split<axis=0, num_outputs=2>(v)  d = Sub(l, r)  y = Abs(d) }""",
        W=WEIGHTS["W"],
    )  # fmt: skip
    assert [x.name for x in candidate_layers(load(model), logits="y", source="left")] == ["left"]
    with pytest.raises(LayerError, match="no tensor on the way from input 'left'"):
        Explainer(model, method="gradcam", input="left")


def test_what_is_common_to_all_images_is_not_taken_for_rows() -> None:
    """Four prompts without a batch, scored against the picture, as CLIP does."""
    model = parsed(
        """g (float[N,3,6,5] x, float[4,7] prompts) => (float[N,4] y) {
        a = Conv<pads=[1,1,1,1]>(x, W)  act = Relu(a)  p = GlobalAveragePool(act)  v = Flatten<axis=1>(p)
        e = MatMul(prompts, P)  t = Transpose<perm=[1,0]>(e)  y = MatMul(v, t) }""",
        W=WEIGHTS["W"], P=drawn(14, 7, 4),
    )  # fmt: skip
    x, prompts = drawn(15, 3, 3, 6, 5), drawn(16, 4, 7)
    alone = frozen(model, prompts=prompts)
    for method in ("scorecam", "ablationcam", "reciprocam", "gradcam", "occlusion"):
        settings = {"window": 3, "stride": 3} if method == "occlusion" else {}
        found = Explainer(model, method=method, input="x", batch=2, **settings)(
            {"x": x, "prompts": prompts}, target=2
        ).map
        expected = Explainer(alone, method=method, **settings)(x, target=2).map
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


LIES = {
    "x": Lie(0, 2), "act": Lie(0, 2), "v": Lie(0, 2), "turned": Lie(1, 2), "rows": Lie(0, 2, 3), "mixed": Lie(None, 1),
    "swapped": SCATTERED,
}  # fmt: skip


def test_the_graph_says_where_the_images_of_each_tensor_lie() -> None:
    model = parsed(
        f"""g (float[N,3,6,5] x)
        => (float[N,3] y, float[1,4] mixed, float[4,M] turned, float[R,4] rows, float[K] swapped) {{ {CONV}
        y = MatMul(v, V)  mixed = ReduceMean<keepdims=1>(v, zero)  turned = Transpose<perm=[1,0]>(v)
        three = Concat<axis=1>(v, v, v)  rows = Reshape(three, wide)  swapped = Reshape(turned, flat) }}""",
        **WEIGHTS, zero=np.array([0]), wide=np.array([-1, 4]), flat=np.array([-1]),
    )  # fmt: skip
    found = images_of(load(model), "x")
    assert {n: found[n] for n in LIES} == LIES


def test_images_lie_where_central_differences_say() -> None:
    """An element's masks are those of the images that move it."""
    model, x = sequence_first(2), drawn(17, 2, 3, 6, 5)
    flow = flow_of(load(model), logits="y", source="x")
    assert (flow.images, flow.answers, flow.axis, flow.classes) == (2, 2, 1, 15)
    for i in range(2):
        other = x.copy()
        other[i] += 1
        moved = plain(model, {"x": other}) != plain(model, {"x": x})
        assert_array_equal(moved.all(axis=(0, 2)), np.arange(2) == i)
        assert_array_equal(moved.any(axis=(0, 2)), np.arange(2) == i)
