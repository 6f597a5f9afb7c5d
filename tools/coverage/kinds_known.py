"""Small nets of torchvision and transformers from their configurations, for ``export_kinds.py``."""

from __future__ import annotations

from typing import Any

import torch
from kinds_small import Made, Taken, picture
from torch import Tensor, nn


def suppressed(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the boxes that non-maximum suppression keeps, best first."""
    order, kept = scores.argsort(descending=True), []
    corners = dets[order]
    areas, left = (corners[:, 2:] - corners[:, :2]).prod(1), torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if not left[i]:
            continue
        kept.append(i)
        low, high = torch.maximum(corners[i, :2], corners[:, :2]), torch.minimum(corners[i, 2:], corners[:, 2:])
        shared = (high - low).clamp(min=0).prod(-1)
        left &= shared / (areas[i] + areas - shared) <= iou_threshold
    return order[torch.tensor(kept, dtype=torch.int64)]


class Suppression(torch.autograd.Function):
    """torchvision's nms, exported as torchvision does, where its C extension is not for this PyTorch."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
        """Return the places of the boxes that are kept."""
        return suppressed(boxes, scores, threshold)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, threshold: float) -> Any:
        """Write NonMaxSuppression over one class, and the column of the boxes."""
        from torch.onnx.symbolic_opset11 import select, squeeze, unsqueeze

        each = unsqueeze(g, unsqueeze(g, scores, 0), 0)
        most = g.op("Constant", value_t=torch.tensor([1 << 30], dtype=torch.long))
        least = g.op("Constant", value_t=torch.tensor([threshold], dtype=torch.float))
        found = g.op("NonMaxSuppression", unsqueeze(g, boxes, 0), each, most, least)
        row = g.op("Constant", value_t=torch.tensor([2], dtype=torch.long))
        return squeeze(g, select(g, found, 1, row), 1)


class Aligned(torch.autograd.Function):
    """torchvision's roi_align, exported as torchvision does."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rois: Tensor, height: int, width: int, scale: float, ratio: int, half: bool
    ) -> Tensor:
        """Pool regions by torchvision's own formula."""
        from torchvision.ops.roi_align import _roi_align

        return _roi_align(x, rois, scale, height, width, ratio, half)

    @staticmethod
    def symbolic(g: Any, x: Any, rois: Any, height: int, width: int, scale: float, ratio: int, half: bool) -> Any:
        """Write RoiAlign."""
        from torch.onnx.symbolic_opset11 import select, squeeze

        def column(i: int) -> Any:
            return g.op("Constant", value_t=torch.tensor([i], dtype=torch.long))

        which = g.op("Cast", squeeze(g, select(g, rois, 1, column(0)), 1), to_i=7)
        boxes = g.op("Gather", rois, g.op("Constant", value_t=torch.tensor([1, 2, 3, 4])), axis_i=1)
        return g.op(
            "RoiAlign", x, boxes, which, coordinate_transformation_mode_s="half_pixel" if half else "output_half_pixel",
            output_height_i=height, output_width_i=width, sampling_ratio_i=max(ratio, 0), spatial_scale_f=scale,
        )  # fmt: skip


def declared() -> torch.library.Library | None:
    """Declare the operators of torchvision that its detectors use, where its C extension is not for this PyTorch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "roi_align", "_roi_align_backward", "_ps_roi_align_backward", "_ps_roi_pool_backward",
                 "_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward", "ps_roi_align", "ps_roi_pool",
                 "roi_pool", "qnms",
    ):  # fmt: skip
        library.define(f"{name}(Tensor x) -> Tensor")
    torch.compile = lambda function, **_: function
    import torchvision.ops.boxes
    import torchvision.ops.poolers
    import torchvision.ops.roi_align

    def align(
        x: Tensor, rois: Tensor, output_size: Any, spatial_scale: float = 1.0, sampling_ratio: int = -1
    ) -> Tensor:
        return Aligned.apply(x, rois, *output_size, spatial_scale, sampling_ratio, False)

    torchvision.ops.boxes._assert_has_ops = torchvision.ops.roi_align._assert_has_ops = there
    torchvision.ops.boxes.nms = Suppression.apply
    torchvision.ops.boxes._batched_nms_coordinate_trick = apart
    torchvision.ops.poolers.roi_align = align
    return library


def apart(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Suppress boxes of each class by itself: they are moved apart, as torchvision does."""
    offsets = idxs.to(boxes) * (boxes.max() + torch.tensor(1).to(boxes))
    return Suppression.apply(boxes + offsets[:, None], scores, iou_threshold)


def there() -> None:
    """Stand for torchvision's check that its extension is loaded."""


LIBRARY = declared()


class Listed(nn.Module):
    """A detector of torchvision on a batch of one, with its outputs in a fixed order."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return boxes, scores, labels."""
        found = self.net([x[0]])[0]
        return found["boxes"], found["scores"], found["labels"]


class Heads(nn.Module):
    """A detector of torchvision before its boxes are chosen: scores and boxes of all anchors."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and boxes."""
        from torchvision.models.detection.image_list import ImageList

        features = list(self.net.backbone(x).values())
        found = self.net.head(features)
        anchors = self.net.anchor_generator(ImageList(x, [tuple(x.shape[-2:])]), features)[0]
        boxes = self.net.box_coder.decode_single(found["bbox_regression"][0], anchors)
        return found["cls_logits"].softmax(-1), boxes[None]


class First(nn.Module):
    """The output called ``out``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return its scores."""
        return self.net(x)["out"]


def ssdlite() -> Any:
    """Return torchvision's SSDLite with few boxes."""
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    few = {"score_thresh": 0.0, "detections_per_img": 20, "topk_candidates": 20}
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, **few)


def ssd() -> Made:
    """Return it as its makers export it, with the choice of boxes."""
    return Made(Listed(ssdlite()), (picture(320),), ("image",), ("boxes", "scores", "labels"), free=False)


def ssd_heads() -> Made:
    """Return it before its boxes are chosen."""
    return Made(Heads(ssdlite()), (picture(320),), ("image",), ("scores", "boxes"), free=False)


def faster() -> Made:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    net = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=21, min_size=160, max_size=160, box_score_thresh=0.0,
        box_detections_per_img=20, rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_test=50,
    )  # fmt: skip
    return Made(Listed(net), (picture(160),), ("image",), ("boxes", "scores", "labels"), free=False)


def lraspp() -> Made:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    return Made(First(net), (picture(160),), ("input",), ("out",))


def detr() -> Made:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    body = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[32, 64, 64, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = DetrConfig(
        use_timm_backbone=False, backbone_config=body, backbone=None, use_pretrained_backbone=False,
        num_queries=20, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, num_labels=10,
    )  # fmt: skip
    net = Taken(DetrForObjectDetection(config), "logits", "pred_boxes")
    return Made(net, (picture(160),), ("pixel_values",), ("logits", "pred_boxes"), free=False)


def rtdetr() -> Made:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    body = RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64, 128],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=body, use_timm_backbone=False, encoder_in_channels=[32, 64, 128], encoder_hidden_dim=64,
        feat_strides=[8, 16, 32], encoder_ffn_dim=128, decoder_in_channels=[64, 64, 64], d_model=64, num_queries=30,
        decoder_ffn_dim=128, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, num_labels=10,
        anchor_image_size=None, disable_custom_kernels=True,
    )  # fmt: skip
    net = Taken(RTDetrForObjectDetection(config), "logits", "pred_boxes")
    return Made(net, (picture(160),), ("pixel_values",), ("logits", "pred_boxes"), free=False)


def segformer() -> Made:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 32, 64, 64],
        num_attention_heads=[1, 2, 2, 2],
        decoder_hidden_size=64,
        num_labels=19,
    )
    net = Taken(SegformerForSemanticSegmentation(config), "logits")
    return Made(net, (picture(128),), ("pixel_values",), ("logits",), config=config.to_dict())


def depth() -> Made:
    from transformers import GLPNConfig, GLPNForDepthEstimation

    config = GLPNConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64], num_attention_heads=[1, 2, 2, 2], decoder_hidden_size=32
    )
    net = Taken(GLPNForDepthEstimation(config), "predicted_depth")
    return Made(net, (picture(128),), ("pixel_values",), ("predicted_depth",))


def _clip() -> dict[str, Any]:
    small = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 32,
    }
    words = {"vocab_size": 200, "max_position_embeddings": 16, "eos_token_id": 199, "bos_token_id": 198}
    return {"text": small | words,
            "vision": small | {"image_size": 96, "patch_size": 16}}  # fmt: skip


def clip() -> Made:
    from transformers import CLIPConfig, CLIPModel

    parts = _clip()
    net = CLIPModel(CLIPConfig(text_config=parts["text"], vision_config=parts["vision"], projection_dim=32))
    words = torch.tensor(
        [
            [198, 5, 6, 7, 199, 199, 199, 199],
            [198, 9, 3, 199, 199, 199, 199, 199],
            [198, 11, 199, 199, 199, 199, 199, 199],
        ]
    )
    names = ("input_ids", "pixel_values", "attention_mask")
    taken = Taken(net, "logits_per_image", names=names)
    return Made(taken, (words, picture(96), torch.ones_like(words)), names, ("logits_per_image",), free=False)


def tower() -> Made:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    net = CLIPVisionModelWithProjection(CLIPVisionConfig(**_clip()["vision"]))
    return Made(Taken(net, "image_embeds"), (picture(96),), ("pixel_values",), ("image_embeds",))


def vit() -> Made:
    from transformers import ViTConfig, ViTForImageClassification

    names = dict(enumerate("cat dog horse car boat tree house".split()))
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=96,
        patch_size=16,
        id2label=names,
        label2id={n: i for i, n in names.items()},
    )
    net = Taken(ViTForImageClassification(config), "logits")
    return Made(net, (picture(96),), ("pixel_values",), ("logits",), config=config.to_dict())
