"""What is asked of an explanation is of its kind, or refused by what is wanted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, small_cnn
from PIL import Image

from fgcam_onnx import Explainer, Explanation
from fgcam_onnx.errors import FgcamError, ImageError

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, TWO = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "two.png"
STRANGE: tuple[Any, ...] = (np.zeros(0), np.zeros((2, 2)), np.array(None), [1], {"a": 1}, "x", 1.5, 2**70, -9, object())


@pytest.fixture(scope="module")
def found() -> Explanation:
    return Explainer(small_cnn(), method="gradcam", threads=1)(images(2))


@pytest.mark.parametrize("value", STRANGE, ids=[type(v).__name__ + str(k) for k, v in enumerate(STRANGE)])
@pytest.mark.parametrize(
    ("method", "name"),
    [("top", "count"), ("top", "index"), ("heatmap", "index"), ("heatmap", "layer"), ("title", "answer"),
     ("overlay", "image"), ("overlay", "bar"), ("overlay", "index"), ("sheet", "tile"),
     ("heatmap", "signed"), ("heatmap", "percentile"), ("heatmap", "gamma"), ("heatmap", "smooth"),
     ("heatmap", "colormap"), ("heatmap", "bar"), ("heatmap", "on"), ("fused", "size")],
)  # fmt: skip
def test_what_is_of_another_kind_is_refused(found: Explanation, method: str, name: str, value: Any) -> None:
    taken = {"count": (2**70,), "percentile": (1.5,), "gamma": (1.5, 2**70), "smooth": (1.5,), "size": ([1],)}
    if any(type(value) is type(one) and value == one for one in taken.get(name, ())):
        getattr(found, method)(**{name: value})
        return
    with pytest.raises(FgcamError):
        getattr(found, method)(**{name: value})


def test_a_title_is_text(found: Explanation) -> None:
    for title in (3, None, [1], b"x"):
        with pytest.raises(FgcamError, match="title is text"):
            found.sheet(title=title)  # type: ignore[arg-type]


def test_a_picture_that_pillow_opened_and_cannot_read_is_damaged() -> None:
    explainer = Explainer(RESNET, method="gradcam", threads=1)
    closed = Image.open(TWO)
    closed.close()
    for picture in (Image.open(io.BytesIO(TWO.read_bytes()[:300])), closed):
        with pytest.raises(ImageError, match="damaged or cut short"):
            explainer(picture)
