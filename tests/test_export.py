"""An exported file gives the model's outputs and the explainer's maps, in plain onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import fgcam_onnx
from fgcam_onnx.exporter import export
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image

NETS = ("vgg_shapes.dynamo", "resnet_shapes.torchscript", "vgg_shapes.keras", "vgg_shapes.jax", "vgg_shapes.paddle")
VGG, RESNET = NETS[:2]
METHODS = ("fgcam", "gradcam", "relevancecam")


def session(path: Path, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ran(path: Path, feeds: dict[str, Any], *, optimized: bool = True) -> dict[str, Any]:
    made = session(path, optimized=optimized)
    return dict(zip([o.name for o in made.get_outputs()], made.run(None, feeds), strict=True))


def prepared(bundled: Path, net: str, count: int = 8) -> np.ndarray:
    model = bundled / f"{net}.onnx"
    sidecar = find_sidecar(model)
    assert sidecar is not None
    shape = fgcam_onnx.load(model).inputs[0].shape
    preprocess = preprocess_from(sidecar).bound(shape, np.float32)
    files = sorted((bundled / "pictures").glob("*.png"))[:count]
    return np.concatenate([preprocess(read_image(f)) for f in files])


def off(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference relative to the largest value."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", NETS)
def test_the_file_gives_the_explainers_map_for_any_batch(bundled: Path, tmp_path: Path, net: str, method: str) -> None:
    explainer = fgcam_onnx.Explainer(bundled / f"{net}.onnx", method=method, threads=1)
    made = session(export(explainer, tmp_path / "e.onnx").path)
    names = [o.name for o in made.get_outputs()]
    x = prepared(bundled, net)
    for count in (1, 3, 8):
        found = dict(zip(names, made.run(None, {explainer.input: x[:count]}), strict=True))
        wanted = explainer(x[:count])
        assert off(found["explanation"], wanted.map) <= 1e-5
        np.testing.assert_array_equal(found["explanation_target"], wanted.target)
        np.testing.assert_allclose(found["explanation_score"], wanted.score, rtol=1e-5, atol=0)
