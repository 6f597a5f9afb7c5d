"""Explanations at layers of tokens: the formulas on the patches, conservation, and the command that tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, node, written
from onnx import numpy_helper
from token_nets import WIDTH, gradients_at, mixing, transformer, windowed

from fgcam_onnx import Explainer, explain, load
from fgcam_onnx.layers.layers import find_layer


@pytest.mark.parametrize("options", [{}, {"before": 2, "after": 1}, {"pool": "mean"}, {"batch": 2}], ids=str)
def test_grad_cam_of_tokens_is_the_formula_on_the_patches(options: dict[str, Any]) -> None:
    proto, x = transformer(**options), images(2, size=(8, 12))
    for name in ("blocks.0", "/blocks.1/norm1", "flat_output_0"):
        layer = find_layer(load(proto), name, logits="logits")
        assert layer.grid is not None
        found = gradients_at(proto, [layer.name], x)
        a, g = (np.moveaxis(found[f"{k}/{layer.name}"], layer.grid.axis, 1) for k in "ag")
        first = layer.grid.before
        weights = g[:, first : first + 6].mean(axis=1)
        wanted = np.array([[a[n, first + t] @ weights[n] for t in range(6)] for n in range(2)]).reshape(2, 2, 3)
        e = explain(proto, x, method="gradcam", layers=name)
        np.testing.assert_allclose(e.map, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("net", [transformer, windowed, mixing])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "gradcam"},
        {"method": "relevancecam"},
        {"method": "fgcam"},
        {"method": "fgcam", "denoise": True},
        {"method": "fgcam", "base": "scorecam"},
        {"method": "fgcam", "layers": ["input", "all"]},
    ],
    ids=str,
)
def test_every_kind_of_method_takes_tokens(net: Any, options: dict[str, Any]) -> None:
    proto = net()
    model = load(proto)
    size = model.inputs[0].shape[2:]
    e = Explainer(model, **options)(images(2, size=size))  # type: ignore[arg-type]
    for name, values in e.maps.items():
        layer = find_layer(model, name, logits="logits")
        assert values.shape == (2, *layer.spatial)
        assert np.abs(values).max() > 0


def test_refining_from_tokens_conserves_what_the_patches_hold() -> None:
    """Positive weights and tokens, so that no denominator is 0, and no extra token to keep a share."""
    proto = transformer(before=0, pool="mean")
    drop = {"Softmax", "LayerNormalization"}
    for n in proto.graph.node:
        if n.op_type in drop:
            n.op_type = "Relu"
            del n.input[1:]
            n.ClearField("attribute")
    for t in proto.graph.initializer:
        array = numpy_helper.to_array(t)
        if array.dtype == np.float32:
            t.CopyFrom(numpy_helper.from_array(0.1 * np.abs(array), t.name))
    x = np.abs(images(2, size=(8, 12)))
    e = explain(proto, x, base_layer="blocks.1", layers=["input", "blocks.0", "flat_output_0"], residual="positive")
    for name, kept in e.conservation.items():
        np.testing.assert_allclose(kept, 1, rtol=1e-4, atol=0, err_msg=name)


def test_relevance_stays_finite_where_attention_is_masked_by_a_large_number() -> None:
    """A weight of exp(-100) may be all that a sum of positive values has; dividing by it overflows."""
    proto = transformer()
    proto.graph.initializer.append(
        numpy_helper.from_array(np.where(np.eye(7) > 0, 0, -100).astype(np.float32)[None], "mask")
    )
    nodes = list(proto.graph.node)
    for n in nodes:
        if n.op_type == "Softmax":
            position = next(i for i, other in enumerate(proto.graph.node) if other.name == n.name)
            masked = f"{n.input[0]}.masked"
            proto.graph.node.insert(position, node("Add", [n.input[0], "mask"], masked))
            proto.graph.node[position + 1].input[0] = masked
    e = explain(proto, images(4, size=(8, 12)), method="relevancecam", layers=["tokens", "blocks.0"])
    assert all(np.isfinite(m).all() and np.abs(m).max() > 0 for m in e.maps.values())


def test_conservation_at_tokens_is_that_of_the_map() -> None:
    """What a class token takes is not in the map, and the figure says so."""
    e = explain(transformer(), images(2, size=(8, 12)), layers=["blocks.0"])
    components = explain(transformer(), images(2, size=(8, 12)), method="gradcam").map
    share = e.map.sum((1, 2)) / components.sum((1, 2))
    np.testing.assert_allclose(e.conservation["blocks.0"], share, rtol=1e-3, atol=0)


# ---- the command line


def test_inspect_tells_the_grid_and_what_is_left_out(fgcam: Any, tmp_path: Path) -> None:
    path = written(transformer(before=2), tmp_path)
    shown = fgcam("inspect", path)
    assert shown.code == 0
    assert "extra tokens" in shown.out
    assert "no gradient" in fgcam("inspect", path, "--all").out
    first = json.loads(fgcam("inspect", path, "--json").out)["layers"][0]
    assert first["tokens"] == {"before": 2, "after": 0, "grid": [2, 3], "axis": 1}
    assert (first["reach"], first["spatial"], first["shape"]) == ("all", [2, 3], [None, 8, WIDTH])
    given = json.loads(fgcam("inspect", path, "--grid", "1x7", "--json").out)["layers"][0]
    assert given["tokens"]["grid"] == [1, 7]
    refused = fgcam("inspect", path, "--grid", "40x40")
    assert refused.code == 1
    assert "1600" in refused.err
