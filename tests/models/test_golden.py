"""Our maps against those of the papers' published code, on nets exported with seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fgcam_onnx
from fgcam_onnx.cam.gradient import grad_cam
from fgcam_onnx.fgcam import denoise
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.graph.tape import attributes
from fgcam_onnx.layers.layers import default_base
from fgcam_onnx.lrp.composites import fg_cam
from fgcam_onnx.program import TARGET, append_gradients, append_relevance, append_target
from fgcam_onnx.runtime import Session

PLAIN, DENOISED = 1e-4, 1e-3


def rows(golden: Path, **wanted: Any) -> list[dict[str, Any]]:
    every = json.loads((golden / "manifest.json").read_text())
    return [r for r in every if all(r.get(k) == v for k, v in wanted.items())]


def worst_error(golden: Path, chosen: list[dict[str, Any]], **options: Any) -> float:
    """Return the largest max |difference| / max |published| over the rows, all layers of a case in one pass."""
    cases: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in chosen:
        cases.setdefault((r["model"], r["base"], r["base_layer"], r["denoise"]), []).append(r)
    worst = 0.0
    for (model, base, base_layer, denoised), group in cases.items():
        arrays = np.load(golden / group[0]["arrays"])
        layers = sorted({r["layer"] for r in group})
        explainer = fgcam_onnx.Explainer(
            golden / model, base=base, base_layer=base_layer, denoise=denoised, layers=layers, **options
        )
        for target in sorted({r["target"] for r in group}):
            e = explainer(arrays["input"], target=target)
            for r in (r for r in group if r["target"] == target):
                published = arrays[r["key"]]
                worst = max(worst, float(np.abs(e.maps[r["layer"]] - published).max() / np.abs(published).max()))
    return worst


@pytest.mark.parametrize("model", ["vgg_plain", "vgg_bn_folded", "vgg_bn_kept"])
@pytest.mark.parametrize("base", ["gradcam", "scorecam"])
@pytest.mark.parametrize(("denoised", "tolerance"), [(False, PLAIN), (True, DENOISED)])
def test_fgcam_gives_the_published_maps(golden: Path, model: str, base: str, denoised: bool, tolerance: float) -> None:
    chosen = rows(golden, method="fgcam", model=f"{model}.onnx", base=base, denoise=denoised)
    assert chosen
    assert worst_error(golden, chosen) <= tolerance


def test_another_residual_rule_changes_nothing_where_there_are_no_sums(golden: Path) -> None:
    chosen = rows(golden, method="fgcam", model="vgg_plain.onnx", base="gradcam", denoise=False)
    assert worst_error(golden, chosen, residual="signed") <= PLAIN


def test_a_denoised_map_is_told_from_a_plain_one(golden: Path) -> None:
    """Negative control: the published denoised maps are not what the plain method gives."""
    chosen = rows(golden, method="fgcam", model="vgg_plain.onnx", base="gradcam", denoise=True)
    plain = [{**r, "denoise": False} for r in chosen]
    assert worst_error(golden, plain) > DENOISED


def test_the_default_base_layer_is_the_published_one(golden: Path) -> None:
    for name in ("vgg_plain", "vgg_bn_folded", "vgg_bn_kept"):
        (layer,) = {r["base_layer"] for r in rows(golden, method="fgcam", model=f"{name}.onnx")}
        arrays = np.load(golden / f"{name}.npz")
        named = fgcam_onnx.explain(golden / f"{name}.onnx", arrays["input"], target=0, base_layer=layer)
        default = fgcam_onnx.explain(golden / f"{name}.onnx", arrays["input"], target=0)
        np.testing.assert_array_equal(default.map, named.map)


def test_relevance_cam_gives_the_published_maps(golden: Path) -> None:
    chosen = rows(golden, method="relevancecam")
    assert len(chosen) == 12
    for r in chosen:
        arrays = np.load(golden / r["arrays"])
        e = fgcam_onnx.explain(
            golden / r["model"], arrays["input"], target=r["target"], method="relevancecam", layers=r["layer"]
        )
        published = arrays[r["key"]]
        assert np.abs(e.map - published).max() <= PLAIN * np.abs(published).max()


@pytest.mark.parametrize("model", ["vgg_plain", "vgg_bn_folded", "vgg_bn_kept"])
def test_input_maps_keep_the_components_but_for_units_that_only_a_bias_made(golden: Path, model: str) -> None:
    """What a step loses is the relevance of the units whose denominator is exactly 0, and nothing else."""
    x = np.load(golden / f"{model}.npz")["input"]
    e = fgcam_onnx.explain(golden / f"{model}.onnx", x)
    np.testing.assert_allclose(e.conservation["input"] + dropped(golden / f"{model}.onnx", x), 1, rtol=0, atol=1e-5)


def dropped(path: Path, x: np.ndarray) -> float:
    """Return the share of relevance at convolutions where no positive product reaches the unit."""
    model = fgcam_onnx.load(path)
    logits = find_score(model).logits
    base = default_base(model, logits=logits)
    convs = [n for n in model.nodes if n.op_type == "Conv"]
    emitter = Emitter(model)
    scored = append_target(emitter, logits)
    g = append_gradients(emitter, [base.name], output=logits, seed=scored.seed)[base.name]
    components = grad_cam(emitter.value(base.name), g, base.spatial_axes)
    names = [n.output[0] for n in convs]
    relevance = append_relevance(emitter, names, output=base.name, seed=components, pullback=fg_cam())
    emitter.output("total", components.sum())
    for i, node in enumerate(convs[1:]):
        inputs, weight = emitter.value(node.input[0]), np.maximum(model.constants[node.input[1]], 0)
        z = emitter.emit("Conv", inputs, emitter.constant(weight), **attributes(node))
        emitter.output(f"z{i}", z)
        emitter.output(f"r{i}", relevance[node.output[0]])
    found = Session(emitter.build()).run({model.inputs[0].name: x, TARGET: np.array([-1])})
    lost = sum(found[f"r{i}"][found[f"z{i}"] == 0].sum(dtype=np.float64) for i in range(len(convs) - 1))
    return float(lost / found["total"])


def test_denoising_keeps_at_least_one_direction() -> None:
    components = np.random.default_rng(0).standard_normal((2, 5, 3, 3)).astype(np.float32)
    assert np.abs(denoise(components)).max() > 0.1
