"""The published maps on CUDA. Skipped, saying why, where there is no GPU: continuous integration has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_golden import rows, worst_error

import fgcam_onnx
from fgcam_onnx.errors import DeviceError
from fgcam_onnx.runtime import resolve_device

CUDA_TOLERANCE = 1e-3


@pytest.fixture(scope="module", autouse=True)
def cuda() -> None:
    try:
        resolve_device("cuda")
    except DeviceError as error:
        pytest.skip(f"no CUDA: {error}")


@pytest.mark.parametrize("base", ["gradcam", "scorecam"])
@pytest.mark.parametrize("denoised", [False, True])
def test_fgcam_on_cuda_gives_the_published_maps(golden: Path, base: str, denoised: bool) -> None:
    chosen = rows(golden, method="fgcam", base=base, denoise=denoised)
    assert worst_error(golden, chosen, device="cuda") <= CUDA_TOLERANCE


def test_cuda_and_cpu_agree_on_the_bundled_models(bundled: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 96, 96)).astype(np.float32)
    for model in sorted(bundled.glob("*.onnx")):
        cpu, gpu = (fgcam_onnx.explain(model, x, device=d).map for d in ("cpu", "cuda"))
        np.testing.assert_allclose(gpu / np.abs(cpu).max(), cpu / np.abs(cpu).max(), rtol=0, atol=1e-2)
