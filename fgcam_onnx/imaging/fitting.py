"""Fitting a picture to a size, and reading a size off a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from fgcam_onnx.errors import ImageError, OptionError
from fgcam_onnx.imaging.placing import Placement

_MAX_RESIZED_PIXELS = 200_000_000
_CHANNELS = (1, 3)
_SMALLEST_GREY = 16
"""Sides below this are rather those of a signal or a table than of a picture, where one channel is all there is."""

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
        None: NHWC where only the last axis can be channels (1 or 3), else NCHW. One channel and a side below 16
        are then no picture: a table of 11 sensors by 60 steps has that shape, too.

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
    guessed = layout is None
    if layout is None:
        layout = "NHWC" if last in _CHANNELS and first not in _CHANNELS else "NCHW"
    channels, height, width = (last, first, middle) if layout == "NHWC" else (first, middle, last)
    if channels is not None and channels not in _CHANNELS:
        raise OptionError(
            f"The model's input {tuple(shape)} read as {layout} has {channels} channels; a picture has 3 "
            "or 1. Set layout if that is wrong, or pass an array instead of a picture."
        )
    shortest = min((side for side in (height, width) if side is not None), default=_SMALLEST_GREY)
    if guessed and channels == 1 and shortest < _SMALLEST_GREY:
        raise OptionError(
            f"The model's input {tuple(shape)} may be a signal or a table: a grey picture of {height or 'any'} x "
            f"{width or 'any'} is unlikely. Set layout (--layout {layout}) if it is a picture, or pass an array."
        )
    return InputForm(layout=layout, channels=channels, height=height, width=width)


@dataclass(frozen=True)
class Plan:
    """How a picture becomes a view: resized to ``resized`` (width, height), its corner laid at ``at`` of the view."""

    picture: tuple[int, int]
    resized: tuple[int, int]
    at: tuple[int, int]
    view: tuple[int, int]

    def __call__(self, image: Image.Image, *, fill: int, filter_name: str) -> Image.Image:
        """Return the view of an RGB picture; what the picture does not reach is filled with grey."""
        resized = image.resize(self.resized, FILTERS[filter_name])
        if self.at == (0, 0) and self.resized == self.view:
            return resized
        canvas = Image.new("RGB", self.view, (fill, fill, fill))
        canvas.paste(resized, self.at)
        return canvas

    @property
    def placement(self) -> Placement:
        """Where the view lies in the picture."""
        (width, height), (left, top) = self.view, self.at
        sx, sy = self.picture[0] / self.resized[0], self.picture[1] / self.resized[1]
        box = (-left * sx, -top * sy, (width - left) * sx, (height - top) * sy)
        return Placement((self.picture[1], self.picture[0]), (height, width), box)


def plan(
    picture: tuple[int, int],
    *,
    size: tuple[int, int],
    resize: Literal["crop", "stretch", "pad"],
    crop_share: float,
    corner: bool,
) -> Plan:
    """Return how a picture of (width, height) becomes ``size`` (height, width); the options are `Preprocess`'s."""
    height, width = size
    view = (width, height)
    if resize == "stretch" or picture == view:
        return Plan(picture, view, (0, 0), view)
    if resize == "pad":
        share = min(height / picture[1], width / picture[0])
        inner = (min(width, max(1, round(picture[0] * share))), min(height, max(1, round(picture[1] * share))))
        return Plan(picture, inner, (0, 0) if corner else ((width - inner[0]) // 2, (height - inner[1]) // 2), view)
    whole = _covering(picture, height=round(height / crop_share), width=round(width / crop_share))
    # round(), half to even, as torchvision's CenterCrop has it.
    return Plan(picture, whole, (-round((whole[0] - width) / 2), -round((whole[1] - height) / 2)), view)


def _covering(picture: tuple[int, int], *, height: int, width: int) -> tuple[int, int]:
    if picture[0] * height >= picture[1] * width:
        whole = (picture[0] * height // picture[1], height)
    else:
        whole = (width, picture[1] * width // picture[0])
    if whole[0] * whole[1] > _MAX_RESIZED_PIXELS:
        raise ImageError(
            f"A picture of {picture[0]} x {picture[1]} becomes {whole[0]} x {whole[1]} before it is "
            "cropped. Crop it first, or set resize to 'pad' or 'stretch', or crop_share nearer to 1."
        )
    return whole
