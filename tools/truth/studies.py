"""What ``reproduce.py`` asks of which nets: rows are options of Explainer by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fgcam_onnx.evaluation import Variant
from fgcam_onnx.lrp import linear
from fgcam_onnx.lrp.rules import z_box, z_plus
from fgcam_onnx.lrp.table import COMPOSITES, layered
from fgcam_onnx.metrics import Metric, find_metric

SHARES = (0.04, 0.12, 0.28, 0.55)
"""Of the pixels, where the curves of Deletion and Insertion are read beside 0 and 1."""


@dataclass(frozen=True)
class Net:
    """A classifier.

    Attributes
    ----------
    name, file : str
        What tables call it, and its file in ``ASSETS/models``, or among the bundled ones.
    kind : {"photographs", "tokens", "shapes"}
        A convolutional net on photographs with boxes, a transformer on them, or a bundled net on generated pictures
        with masks.
    cells : int
        Side of the cells in which maps of any resolution are equal.
    shallow : int
        Least stride of the layers that are asked.
    """

    name: str
    file: str
    kind: str = "photographs"
    cells: int = 16
    shallow: int = 4


NETS = (
    Net("MCUNet", "mcunet_in3_fp32_torch.onnx"),
    Net("RegNetX-200MF", "regnetx200mf_fp32_dequant.onnx"),
    Net("MobileNetV2", "mobilenet_v2_fp32_dequant.onnx"),
    Net("ShuffleNetV2", "shufflenet_v2_fp32_dequant.onnx"),
    Net("SqueezeNet 1.1", "squeezenet1.1_fp32_rebuilt.onnx"),
    Net("ViT-Ti/16", "vit_tiny_patch16_224_opset17.onnx", "tokens"),
    Net("VGG", "vgg_shapes.dynamo.onnx", "shapes", 8, 2),
    Net("ResNet", "resnet_shapes.dynamo.onnx", "shapes", 8, 2),
)

AS_LRP = "as fgcam"
"""A composite: what FG-CAM at the input is on nets that end in an average and a linear layer."""

COMPOSITES[AS_LRP] = lambda: layered(
    AS_LRP,
    first_layer=z_box,
    convolution=z_plus,
    dense=linear.lrp_0(),
    average=linear.lrp_0(),
    residual="positive",
)

DEPTH = (
    Variant("fgcam", "fgcam"),
    Variant("fgcam, denoised", "fgcam", {"denoise": True}),
    Variant("layercam", "layercam"),
    Variant("gradcam", "gradcam"),
    Variant("relevancecam", "relevancecam"),
)
CHANCE = (Variant("gradcam++", "gradcam++"), Variant("xgradcam", "xgradcam"))
INPUT = (
    Variant("fgcam", "fgcam"),
    Variant("fgcam, denoised", "fgcam", {"denoise": True}),
    Variant("fgcam, cells", "fgcam", {"cells": True}),
    Variant("fgcam, bias", "fgcam", {"bias": True}),
    Variant("auto, unguided", "auto", {"lowpass": 0.0, "guided": False}),
    Variant("gradcam", "gradcam"),
    Variant("layercam", "layercam"),
    Variant("relevancecam", "relevancecam"),
    Variant("lrp zplus", "lrp", {"composite": "zplus"}),
    Variant("lrp epsilonplus", "lrp", {"composite": "epsilonplus"}),
    Variant("lrp epsilonalpha2beta1", "lrp", {"composite": "epsilonalpha2beta1"}),
    Variant("lrp epsilongammabox", "lrp", {"composite": "epsilongammabox"}),
    Variant("lrp epsilon", "lrp", {"composite": "epsilon"}),
    Variant("saliency", "saliency"),
    Variant("inputxgradient", "inputxgradient"),
    Variant("guidedbackprop", "guidedbackprop"),
)
SAME = Variant("lrp, fgcam's rules", "lrp", {"composite": AS_LRP, "start": "logit"})
TOKENS = (
    Variant("fgcam", "fgcam"),
    Variant("fgcam, base layercam", "fgcam", {"base": "layercam"}),
    Variant("auto", "auto"),
    Variant("attnlrp", "attnlrp", {"gamma": 0.25}),
    Variant("chefer", "chefer"),
    Variant("gradcam", "gradcam"),
    Variant("layercam", "layercam"),
)
GRIDDED = ("fgcam", "fgcam, cells", "fgcam, bias", "auto, unguided", "lrp epsilonplus")
GRID = tuple(v for v in INPUT if v.name in GRIDDED)

FAITHFUL = ("rank_drop", "deletion@", "insertion@")
WHERE = ("energy", "energy_small")


@dataclass(frozen=True)
class Study:
    """Rows and metrics on the first so many photographs that a net classifies rightly, in a seeded order.

    Attributes
    ----------
    variants : tuple of Variant
    metrics : tuple of str
        Names; those that end in ``@`` are measured in cells of the net's size.
    most : int, optional
        Of the photographs; default all.
    stages, input : bool
        Whether at the best layer of each resolution, and whether at the input, too; else where each has its map.
    cuts : tuple of int
        How many pictures are asked about before the other studies and nets have their turn, and so on.
    """

    name: str
    variants: tuple[Variant, ...]
    metrics: tuple[str, ...]
    most: int | None = None
    stages: bool = False
    input: bool = False
    cuts: tuple[int, ...] = (12, 32, 10**6)

    def measured(self, net: Net) -> list[Metric]:
        """Return the metrics as they are measured on a net."""
        found = []
        for name in self.metrics:
            plain, _, celled = name.partition("@")
            metric = find_metric(plain, cells=net.cells if name != plain or celled else 1)
            found.append(metric.having(shares=SHARES) if plain in ("deletion", "insertion") else metric)
        return found


FEW, CUTS = 32, (6, 16, 32)
DEEP = Study("depth", DEPTH, FAITHFUL, FEW, stages=True, cuts=CUTS)
FINE = Study("input", (*INPUT, SAME), (*FAITHFUL, "rank_drop@"), FEW, cuts=CUTS)
USUAL = Study("usual", DEPTH[:1], ("drop", "deletion", "insertion"), FEW, stages=True, input=True, cuts=CUTS)
DEEP_WHERE = Study("depth-where", (*DEPTH, *CHANCE), WHERE, stages=True)
FINE_WHERE = Study("input-where", INPUT, WHERE)
TOKEN = Study("input", TOKENS, (*FAITHFUL, "rank_drop@"), FEW, cuts=CUTS)
TOKEN_WHERE = Study("input-where", TOKENS, WHERE)

STUDIES: dict[str, tuple[Study, ...]] = {
    "photographs": (FINE_WHERE, DEEP_WHERE, DEEP, FINE, USUAL),
    "tokens": (TOKEN_WHERE, TOKEN),
    "shapes": (FINE_WHERE, DEEP_WHERE, *(replace(s, most=64, cuts=(12, 64)) for s in (DEEP, FINE, USUAL))),
}
