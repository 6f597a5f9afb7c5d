"""What an exported file makes of numbers that are not finite, and the arguments that write no usable file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from nets import images, model_of, small_nodes, small_weights

import fgcam_onnx
from fgcam_onnx.errors import FgcamError, NumericsError, OptionError, TargetError
from fgcam_onnx.exporter import export
from fgcam_onnx.saving.ends import finite, marked

NETS = ("vgg_shapes.dynamo", "resnet_shapes.torchscript")


def pictures(bundled: Path, net: str) -> tuple[Path, np.ndarray]:
    """Return a bundled model and three inputs, of which others are made bad."""
    model = bundled / f"{net}.onnx"
    shape = fgcam_onnx.load(model).inputs[0].shape[1:]
    return model, np.random.default_rng(3).normal(size=(3, *shape)).astype(np.float32)


def ran(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("normalize", ["none", "minmax", "uint8"])
@pytest.mark.parametrize("method", ["gradcam", "fgcam"])
def test_the_file_marks_an_image_of_which_a_pixel_is_no_finite_number(
    bundled: Path, tmp_path: Path, net: str, normalize: Any, method: str, bad: float
) -> None:
    model, x = pictures(bundled, net)
    export(model, tmp_path / "e.onnx", method=method, normalize=normalize)
    clean = ran(tmp_path / "e.onnx", x)
    x[1, 0, 3, 5] = bad
    found = ran(tmp_path / "e.onnx", x)
    with pytest.raises(NumericsError):
        fgcam_onnx.Explainer(model, method=method, threads=1)(x)
    assert np.isnan(found["explanation_score"]).tolist() == [False, True, False]
    empty = 0 if normalize == "uint8" else np.nan
    np.testing.assert_array_equal(found["explanation"][1], np.full_like(found["explanation"][1], empty))
    for i in (0, 2):
        np.testing.assert_array_equal(found["explanation"][i], clean["explanation"][i])
        assert found["explanation_score"][i] == clean["explanation_score"][i]


def test_the_file_marks_logits_that_overflow(tmp_path: Path) -> None:
    weights = {n: a * np.float32(0 if n.endswith("bias") else 1) for n, a in small_weights().items()}
    weights["fc.weight"] *= np.float32(1e38)
    net = model_of(small_nodes(), weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    export(net, tmp_path / "e.onnx", method="gradcam")
    x = 100 * images(3)
    x[1] = 0
    found = ran(tmp_path / "e.onnx", x)
    assert np.isfinite(found["logits"]).all(1).tolist() == [False, True, False]
    assert np.isnan(found["explanation_score"]).tolist() == [True, False, True]
    assert np.isnan(found["explanation"]).all((1, 2)).tolist() == [True, False, True]


def test_finite_numbers_are_told_from_others_for_each_image() -> None:
    x = np.zeros((5, 2, 3), np.float32)
    x[1, 0, 0], x[2, 1, 2], x[3, 0, 1], x[4] = np.nan, np.inf, -np.inf, np.finfo(np.float32).max
    assert finite(x).tolist() == [True, False, False, False, True]
    kept = marked(x + 1, finite(x))
    np.testing.assert_array_equal(kept[[0, 4]], x[[0, 4]] + 1)
    assert np.isnan(kept[1:4]).all()


@pytest.mark.parametrize("batch", [0, -3, 1.5, True, "2", 2**31, 10**30])
def test_a_batch_that_no_file_can_have_is_refused(bundled: Path, tmp_path: Path, batch: Any) -> None:
    with pytest.raises(OptionError, match="a whole number from 1"):
        export(bundled / "vgg_shapes.dynamo.onnx", tmp_path / "e.onnx", batch=batch)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", [1.5, True, None, -1, 8, "top"])
def test_a_target_that_is_no_class_is_refused(bundled: Path, tmp_path: Path, target: Any) -> None:
    with pytest.raises(FgcamError, match="target") as caught:
        export(bundled / "vgg_shapes.dynamo.onnx", tmp_path / "e.onnx", target=target)
    assert isinstance(caught.value, OptionError if target == "top" else TargetError)
    assert not list(tmp_path.iterdir())
