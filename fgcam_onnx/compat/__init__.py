"""pytorch-grad-cam's shape of call on an exported model, for those who come from it.

``with GradCAM(model="model.onnx", target_layers=["layer4"]) as cam: grayscale = cam(input_tensor=x, targets=[…])``

The arithmetic after the raw map is that of pytorch-grad-cam 1.5 (Gildenblat et al., 2021,
https://github.com/jacobgil/pytorch-grad-cam, MIT): ReLU, scaled by ``(x - min) / (1e-7 + max)``, enlarged bilinearly,
averaged over the layers, scaled again.

Imports asked, cam, errors, explainer, forward, graph, imaging, lrp, methods, metrics, program and targets.
"""

from __future__ import annotations

from typing import Any

from .cams import BaseCAM, FinerCAM, RefineCAM
from .factorization import DeepFeatureFactorization, dff, show_factorization_on_image
from .guided import GuidedBackpropReLUModel
from .metrics import (
    CamMultImageConfidenceChange,
    DropInConfidence,
    IncreaseInConfidence,
    PerturbationConfidenceMetric,
    ROADCombined,
    ROADLeastRelevantFirst,
    ROADLeastRelevantFirstAverage,
    ROADMostRelevantFirst,
    ROADMostRelevantFirstAverage,
)
from .pictures import deprocess_image, preprocess_image, show_cam_on_image
from .table import METHODS_BY_CLASS, OPTIONS_BY_CLASS
from .targets import (
    BinaryClassifierOutputTarget,
    ClassifierOutputReST,
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    FinerWeightedTarget,
    RawScoresOutputTarget,
    SemanticSegmentationTarget,
)

__all__ = [
    "BaseCAM",
    "BinaryClassifierOutputTarget",
    "CamMultImageConfidenceChange",
    "ClassifierOutputReST",
    "ClassifierOutputSoftmaxTarget",
    "ClassifierOutputTarget",
    "DeepFeatureFactorization",
    "DropInConfidence",
    "FinerCAM",
    "FinerWeightedTarget",
    "GuidedBackpropReLUModel",
    "IncreaseInConfidence",
    "PerturbationConfidenceMetric",
    "ROADCombined",
    "ROADLeastRelevantFirst",
    "ROADLeastRelevantFirstAverage",
    "ROADMostRelevantFirst",
    "ROADMostRelevantFirstAverage",
    "RawScoresOutputTarget",
    "RefineCAM",
    "SemanticSegmentationTarget",
    "deprocess_image",
    "dff",
    "preprocess_image",
    "show_cam_on_image",
    "show_factorization_on_image",
    *(name for name in METHODS_BY_CLASS if name not in ("FinerCAM", "RefineCAM")),
]


def __getattr__(name: str) -> Any:
    """Make the class of a method when it is first used."""
    if name not in METHODS_BY_CLASS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    method = METHODS_BY_CLASS[name]
    doc = f"``{method}`` with pytorch-grad-cam's shape of call."
    made = type(name, (BaseCAM,), {"method": method, "defaults": OPTIONS_BY_CLASS.get(name, {}), "__doc__": doc})
    made.__module__ = __name__
    globals()[name] = made
    return made


def __dir__() -> list[str]:
    return sorted({*globals(), *METHODS_BY_CLASS})
