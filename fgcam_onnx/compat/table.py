"""pytorch-grad-cam's classes, and the methods that they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METHODS_BY_CLASS: Mapping[str, str] = {
    "AblationCAM": "ablationcam",
    "EigenCAM": "eigencam",
    "EigenGradCAM": "eigengradcam",
    "FEM": "fem",
    "FGCAM": "fgcam",
    "FinerCAM": "finercam",
    "FullGrad": "fullgrad",
    "GradCAM": "gradcam",
    "GradCAMElementWise": "gradcamelementwise",
    "GradCAMPlusPlus": "gradcam++",
    "HiResCAM": "hirescam",
    "KPCA_CAM": "kpcacam",
    "LayerCAM": "layercam",
    "RefineCAM": "refinecam",
    "RelevanceCAM": "relevancecam",
    "ScoreCAM": "scorecam",
    "ShapleyCAM": "shapleycam",
    "XGradCAM": "xgradcam",
}
"""The classes that :mod:`fgcam_onnx.compat` has, pytorch-grad-cam's names first, and the methods they run."""

OPTIONS_BY_CLASS: Mapping[str, Mapping[str, Any]] = {"FullGrad": {"layers": None, "rescale": "channel"}}
"""What pytorch-grad-cam's classes do that the methods' defaults do not; its FullGrad ignores the layers named."""
