"""A file run as it is, and explanations held against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from fgcam_onnx import Explanation


def same(a: Explanation, b: Explanation, *, tolerance: float = 1e-6) -> None:
    """Assert that two explanations agree to ``tolerance`` of the largest value."""
    np.testing.assert_array_equal(a.target, b.target)
    for left, right in ((a.scores, b.scores), *zip(a.maps.values(), b.maps.values(), strict=True)):
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * np.abs(right).max())


def run_plainly(model: ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    """Run the file as it is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])
