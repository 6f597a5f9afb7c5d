"""What export and its command refuse, each in one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from exported import VGG, fixed_net
from nets import model_of, node

import fgcam_onnx
from fgcam_onnx.errors import ModelError, OptionError
from fgcam_onnx.exporter import export
from fgcam_onnx.methods import METHODS


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.append is None])
def test_what_is_not_one_graph_is_refused_with_the_reason(bundled: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="again and again from outside"):
        export(bundled / f"{VGG}.onnx", tmp_path / "e.onnx", method=name)
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_fit_are_refused(bundled: Path, tmp_path: Path) -> None:
    source, path = bundled / f"{VGG}.onnx", tmp_path / "e.onnx"
    with pytest.raises(OptionError, match="finished outside"):
        export(source, path, base="sscam")
    with pytest.raises(OptionError, match="aug_smooth"):
        export(source, path, aug_smooth=True)
    with pytest.raises(OptionError, match="'minmax'"):
        export(source, path, normalize="minmx")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="argmax, input"):
        export(source, path, target="top")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="built already"):
        export(fgcam_onnx.Explainer(source), path, method="gradcam")
    with pytest.raises(OptionError, match="96 x 96, not 64 x 64"):
        export(source, path, size=(64, 64))


def test_half_precision_is_for_float_models(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", ["x", "s"], "r"), node("GlobalAveragePool", ["r"], "y")]
    quantized = model_of(nodes, {"s": np.array(0.1, np.float32)}, inputs={"x": [1, 3, 8, 8]}, outputs=["y"])
    quantized.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    large = fixed_net()
    large.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((4, 3, 3, 3), 1e5, np.float32), "w"))
    for model, word in ((quantized, "DequantizeLinear"), (large, "too large")):
        with pytest.raises(ModelError, match=word):
            export(model, tmp_path / "e.onnx", fp16=True)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (("--target", "top:3"), "one class"),
        (("--target", "nothing"), "nothing"),
        (("--batch", "0"), "dynamic"),
        (("--mean", "0.5"), "--preprocess"),
        (("--method", "sscam"), "cannot be exported"),
        (("--method", "gradcm"), "Did you mean"),
    ],
)
def test_the_command_refuses_in_one_line(bundled: Path, tmp_path: Path, fgcam: Any, given: Any, word: str) -> None:
    shown = fgcam("export", bundled / f"{VGG}.onnx", "-o", tmp_path / "e.onnx", *given)
    assert shown.code == 1
    assert word in shown.err
    assert not (tmp_path / "e.onnx").exists()
