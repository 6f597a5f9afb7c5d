"""Tokens as layers: the grid they are of, those left out, and what of them reaches the score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import images, model_of, node, small_cnn
from onnx import ModelProto, numpy_helper
from token_nets import WIDTH, gradients_at, mixing, transformer, windowed

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import LayerError
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.layers.layers import Layer, candidate_layers, default_base, find_layer, ranked_layers
from fgcam_onnx.layers.tokens import Grid
from fgcam_onnx.runtime import Session


def layers_of(proto: ModelProto, **options: Any) -> dict[str, Layer]:
    return {x.name: x for x in candidate_layers(load(proto), logits="logits", **options)}


# ---- which tensors are tokens


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"before": 0, "pool": "mean"},
        {"before": 2},
        {"before": 5, "pool": "patches"},
        {"before": 1, "after": 2},
        {"channels_last": True},
        {"decomposed": True},
        {"embed": "Reshape"},
        {"batch": 2},
        {"grid": (5, 1)},
        {"grid": (3, 2), "embed": "Reshape", "before": 0, "pool": "mean"},
    ],
    ids=str,
)
def test_tokens_have_the_grid_of_their_patches_and_the_extra_ones_are_known(options: dict[str, Any]) -> None:
    size = options.get("grid", (2, 3))
    found = layers_of(transformer(**options))
    wanted = Grid(options.get("before", 1), options.get("after", 0), size)
    for name in (
        "/embed/Add_output_0", "/blocks.0/norm1_output_0", "/blocks.0/q_output_0", "/blocks.0/av_output_0",
        "/blocks.0/Add_output_0", "/blocks.0/Relu_output_0", "/blocks.1/Add_1_output_0", "/norm/norm_output_0",
    ):  # fmt: skip
        layer = found[name]
        assert layer.grid == wanted, name
        assert (layer.spatial, layer.channel_axis, layer.spatial_axes) == (size, 3, (1, 2))
        assert layer.channels == (8 if "Relu" in name else WIDTH)
    assert found["tokens"].grid == Grid(0, 0, size)


def test_channels_in_front_of_the_tokens_are_seen() -> None:
    found = layers_of(transformer())
    assert found["flat_output_0"].grid == Grid(0, 0, (2, 3), axis=2)
    assert found["flat_output_0"].folded_shape == ("N", 2, 3, WIDTH)
    assert "/blocks.0/kt_output_0" in found


def test_an_elements_place_is_where_it_reads_the_picture() -> None:
    """Against a run: brightening a patch changes its token of the embedding, and no other."""
    model = load(transformer(embed="Reshape", before=2, grid=(3, 2)))
    layer = find_layer(model, "/embed/Add_output_0", logits="logits")
    emitter = Emitter(model)
    emitter.output("folded", layer.folded(emitter.value(layer.name)))
    session = Session(emitter.build())
    x = images(1, size=(12, 8))
    base = session.run({"input": x})["folded"]
    for y in range(3):
        for z in range(2):
            changed = x.copy()
            changed[:, :, 4 * y : 4 * y + 4, 4 * z : 4 * z + 4] += 1
            moved = np.abs(session.run({"input": changed})["folded"] - base).max(axis=(0, 3)) > 1e-6
            assert np.argwhere(moved).tolist() == [[y, z]]


def test_windows_and_shifts_are_followed_and_only_the_picture_is_a_layer() -> None:
    found = layers_of(windowed())
    for name in ("/patch/Transpose_output_0", "/block/norm_output_0", "/block/Add_output_0", "/back/rolled2_output_0"):
        assert (found[name].channel_axis, found[name].grid, found[name].spatial) == (3, None, (4, 6))
    for name in ("/there/rolled2_output_0", "/block/windows_output_0", "/block/av_output_0", "/block/picture_output_0"):
        assert name not in found
    assert (found["/merge/MatMul_output_0"].channel_axis, found["/merge/MatMul_output_0"].spatial) == (3, (2, 3))
    assert found["/tail/norm_output_0"].grid == Grid(0, 0, (2, 3))


def test_a_wrong_way_back_from_windows_is_no_picture() -> None:
    """Negative control: the shift is not undone."""
    proto = windowed()
    for n in proto.graph.node:
        if n.name == "/block/Add":
            n.input[1] = "/block/picture_output_0"
            n.input[0] = "/there/rolled2_output_0"
    assert "/block/Add_output_0" not in layers_of(proto)


def test_a_mix_along_the_tokens_ends_and_the_residual_sum_takes_it_up() -> None:
    found = layers_of(mixing())
    assert found["/block/norm1_output_0"].grid == found["/block/Add_output_0"].grid == Grid(0, 0, (2, 3))
    assert "/block/mix1_output_0" not in found
    assert "/block/back_output_0" not in found


def test_shuffled_or_missing_tokens_are_no_grid() -> None:
    """Negative control."""
    for order in ((1, 0, 2, 3, 4, 5), (0, 1, 2, 3, 4)):
        proto = transformer(before=0, pool="mean")
        for n in proto.graph.node:
            if n.name == "/embed/Add":
                n.input[0] = "shuffled"
        proto.graph.node.insert(3, node("Gather", ["tokens", "order"], "shuffled", axis=1))
        proto.graph.initializer.append(numpy_helper.from_array(np.array(order), "order"))
        if len(order) == 5:
            position = next(t for t in proto.graph.initializer if t.name == "position")
            position.CopyFrom(numpy_helper.from_array(np.ones((1, 5, WIDTH), np.float32), "position"))
        found = layers_of(proto)
        assert found["tokens"].grid == Grid(0, 0, (2, 3))
        assert not any(name.startswith(("/blocks", "shuffled")) for name in found)


# ---- folding


@pytest.mark.parametrize(
    "grid", [Grid(0, 0, (2, 3)), Grid(1, 0, (2, 3)), Grid(2, 1, (3, 2)), Grid(1, 2, (2, 2), axis=2)]
)
def test_folding_is_undone_but_for_the_extra_tokens(grid: Grid) -> None:
    """On arrays and on graph values, against loops."""
    count = grid.count
    shape = (2, grid.extra + count, 5) if grid.axis == 1 else (2, 5, grid.extra + count)
    v = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    folded, kept = np.zeros((2, *grid.size, 5), np.float32), np.zeros_like(v)
    (height, width) = grid.size
    for y in range(height):
        for x in range(width):
            t = grid.before + y * width + x
            folded[:, y, x] = v[:, t] if grid.axis == 1 else v[:, :, t]
            kept[(slice(None), t) if grid.axis == 1 else (slice(None), slice(None), t)] = folded[:, y, x]
    np.testing.assert_array_equal(grid.fold(v), folded)
    np.testing.assert_array_equal(grid.unfold(grid.fold(v)), kept)
    identity = model_of(
        [node("Identity", ["input"], "same")], {}, inputs={"input": ["N", *shape[1:]]}, outputs=["same"]
    )
    emitter = Emitter(load(identity))
    there = grid.fold(emitter.value("input"))
    emitter.output("there", there)
    emitter.output("back", grid.unfold(there))
    found = Session(emitter.build()).run({"input": v})
    np.testing.assert_array_equal(found["there"], folded)
    np.testing.assert_array_equal(found["back"], kept)


# ---- what reaches the score


@pytest.mark.parametrize(
    ("options", "base"),
    [
        ({}, "/blocks.1/norm1_output_0"),
        ({"before": 3, "decomposed": True}, "/blocks.1/norm1_output_0"),
        ({"pool": "mean"}, "/norm/norm_output_0"),
        ({"pool": "patches", "before": 4}, "/cut/Slice_output_0"),
    ],
    ids=str,
)
def test_the_base_is_the_deepest_layer_whose_patches_all_reach_the_score(options: dict[str, Any], base: str) -> None:
    assert default_base(load(transformer(**options)), logits="logits").name == base


@pytest.mark.parametrize("options", [{}, {"before": 2, "decomposed": True}, {"pool": "mean"}, {"batch": 2}], ids=str)
def test_what_the_sweep_says_of_reach_is_what_gradients_say(options: dict[str, Any]) -> None:
    proto = transformer(**options)
    layers = [x for x in layers_of(proto).values() if x.grid is not None]
    found = gradients_at(proto, [x.name for x in layers], images(2, size=(8, 12)))
    kinds = set()
    for layer in layers:
        live = layer.folded(found[f"g/{layer.name}"]) != 0
        kinds.add(layer.reach)
        if layer.reach == "none":
            assert not live.any(), layer.name
        elif layer.reach == "all" and layer.op != "Relu":
            assert live.any(axis=3).all(), layer.name
    assert kinds == ({"all"} if options.get("pool") else {"all", "none"})


def test_layers_that_cannot_reach_the_score_rank_last_and_say_why() -> None:
    ranked = ranked_layers(load(transformer()), logits="logits")
    lost = [x.reach == "none" for x in ranked]
    assert lost == sorted(lost)
    assert 5 < sum(lost) < len(lost)
    assert "1 extra token left out" in ranked[0].why
    assert "gradient is 0" in ranked[-1].why
    assert not any(x.reach == "none" for x in ranked_layers(load(small_cnn()), logits="logits"))


@pytest.mark.parametrize("method", ["gradcam", "relevancecam", "saliency", "lrp", "refinecam", "fgcam"])
def test_a_layer_whose_patches_do_not_reach_the_score_is_refused_not_zero(method: str) -> None:
    layer = {"base_layer": "blocks.1"} if method == "fgcam" else {"layers": "blocks.1"}
    with pytest.raises(LayerError, match=r"/blocks.1/Add_1_output_0.*extra tokens.*earlier layer"):
        Explainer(transformer(), method=method, **layer)  # type: ignore[arg-type]
