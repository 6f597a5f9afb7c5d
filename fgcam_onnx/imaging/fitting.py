"""Fitting a picture to a size, and reading a size off a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from fgcam_onnx.errors import ImageError, OptionError

_MAX_RESIZED_PIXELS = 200_000_000
_CHANNELS = (1, 3)

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class InputForm:
    """What a model's input says about pictures: layout, channels, and the sides that are fixed."""

    layout: Literal["NCHW", "NHWC"]
    channels: int | None
    height: int | None
    width: int | None

    def sized(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """Return the size to use, given the one asked for; OptionError if there is none or it differs."""
        height, width = self.height, self.width
        if size is None:
            if height is None or width is None:
                raise OptionError(
                    "The model leaves the picture's height or width free, and no size is set. Pass --size "
                    '(such as 224x224), or write "size": [224, 224] in the preprocessing file.'
                )
            return height, width
        if height not in (None, size[0]) or width not in (None, size[1]):
            raise OptionError(
                f"Preprocessing size {size[0]}x{size[1]} (height x width) does not fit the model's input "
                f"of {height or 'any'}x{width or 'any'}. Leave size out, or set it to that."
            )
        return size


def input_form(shape: tuple[int | str | None, ...], *, layout: Literal["NCHW", "NHWC"] | None = None) -> InputForm:
    """Read layout, channels and size off a model's input shape.

    Parameters
    ----------
    shape : tuple of int, str or None
        Rank 4, or 3 without the batch axis. What is not a positive int is free.
    layout : {"NCHW", "NHWC"} or None
        None: NHWC where only the last axis can be channels (1 or 3), else NCHW.

    Returns
    -------
    InputForm
        Free axes are None.

    Raises
    ------
    OptionError
        If the rank or the number of channels is not that of pictures.
    """
    if len(shape) not in (3, 4):
        raise OptionError(
            f"The model's input {tuple(shape)} has {len(shape)} axes; a picture needs 4 (NCHW or NHWC) or 3. "
            "Pass an array of that shape instead of a picture."
        )
    first, middle, last = (axis if isinstance(axis, int) and axis > 0 else None for axis in shape[-3:])
    if layout is None:
        layout = "NHWC" if last in _CHANNELS and first not in _CHANNELS else "NCHW"
    channels, height, width = (last, first, middle) if layout == "NHWC" else (first, middle, last)
    if channels is not None and channels not in _CHANNELS:
        raise OptionError(
            f"The model's input {tuple(shape)} read as {layout} has {channels} channels; a picture has 3 "
            "or 1. Set layout if that is wrong, or pass an array instead of a picture."
        )
    return InputForm(layout=layout, channels=channels, height=height, width=width)


def fit(
    image: Image.Image,
    *,
    size: tuple[int, int],
    resize: Literal["crop", "stretch", "pad"],
    crop_share: float,
    fill: int,
    corner: bool,
    filter_name: str,
) -> Image.Image:
    """Resize an RGB picture to ``size`` (height, width); the options are those of `Preprocess`."""
    height, width = size
    if resize == "stretch":
        return image.resize((width, height), FILTERS[filter_name])
    if resize == "pad":
        share = min(height / image.height, width / image.width)
        inner = (
            min(width, max(1, round(image.width * share))),
            min(height, max(1, round(image.height * share))),
        )
        canvas = Image.new("RGB", (width, height), (fill, fill, fill))
        at = (0, 0) if corner else ((width - inner[0]) // 2, (height - inner[1]) // 2)
        canvas.paste(image.resize(inner, FILTERS[filter_name]), at)
        return canvas
    whole = _covering(image, height=round(height / crop_share), width=round(width / crop_share))
    resized = image.resize(whole, FILTERS[filter_name])
    # round(), half to even, as torchvision's CenterCrop has it.
    left, top = round((whole[0] - width) / 2), round((whole[1] - height) / 2)
    return resized.crop((left, top, left + width, top + height))


def _covering(image: Image.Image, *, height: int, width: int) -> tuple[int, int]:
    if image.width * height >= image.height * width:
        whole = (image.width * height // image.height, height)
    else:
        whole = (width, image.height * width // image.width)
    if whole[0] * whole[1] > _MAX_RESIZED_PIXELS:
        raise ImageError(
            f"A picture of {image.width} x {image.height} becomes {whole[0]} x {whole[1]} before it is "
            "cropped. Crop it first, or set resize to 'pad' or 'stretch', or crop_share nearer to 1."
        )
    return whole
