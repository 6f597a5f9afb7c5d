"""Damages change what is computed, in one layer; re-exports change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from damage import DAMAGES, UnfitError, damaged
from harmless import HARMLESS, changed
from mixed_nets import LAYERS, between_quantizers, net, pictures, weights

from fgcam_onnx import load
from fgcam_onnx.graph.model import Model
from fgcam_onnx.runtime import Session

SOUND = weights(3)
QUANTIZED = between_quantizers(
    SOUND, ranges=dict.fromkeys(("conv0.relu", "conv1.relu", "conv2", "sum.relu", "conv3.relu"), (-6.0, 6.0))
)
UNFIT = {("off_zero", "float"), ("saturated", "float")}


def run(model: Any, *, nhwc: bool = False) -> np.ndarray:
    loaded = model if isinstance(model, Model) else load(model)
    x = pictures().transpose(0, 2, 3, 1) if nhwc else pictures()
    (found,) = Session(loaded, threads=1).run({"x": x}).values()
    return found


@pytest.mark.parametrize("form", ["float", "int8"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damage_changes_the_weights_or_quantizer_of_one_layer(kind: str, form: str) -> None:
    source = load(net(SOUND) if form == "float" else QUANTIZED)
    if (kind, form) in UNFIT:
        with pytest.raises(UnfitError, match="no quantizer"):
            damaged(source, kind, seed=0, layer="conv1.relu")
        return
    end = "conv1.relu" if form == "float" else "conv1.relu.dq"
    model, layer = damaged(source, kind, seed=0, layer=end)
    assert layer.end == end
    assert np.abs(run(model) - run(source)).max() > 1e-3
    differ = {n for n, a in model.constants.items() if n not in source.constants or (a != source.constants[n]).any()}
    assert all(n.startswith("conv1.") for n in differ)
    assert np.array_equal(run(damaged(source, kind, seed=0, layer=end)[0]), run(model))


def test_the_layer_is_drawn_by_the_seed_and_labels_are_the_last() -> None:
    source = load(net(SOUND))
    drawn = {damaged(source, "negated", seed=s)[1].name for s in range(12)}
    assert len(drawn) > 2
    assert drawn <= set(LAYERS) | {"logits"}
    model, layer = damaged(source, "labels", seed=1)
    assert layer.end == "logits"
    np.testing.assert_allclose(np.sort(run(model)), np.sort(run(source)), rtol=1e-5, atol=1e-6)
    assert np.abs(run(model) - run(source)).max() > 0.1


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_re_export_computes_the_same(kind: str) -> None:
    model = changed(net(SOUND), kind, seed=2)
    np.testing.assert_allclose(run(model, nhwc=kind == "nhwc"), run(net(SOUND)), rtol=1e-4, atol=1e-5)
