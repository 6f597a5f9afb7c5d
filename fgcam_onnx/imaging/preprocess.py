"""From a picture to the array a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging.checks import DTYPES, cast, checked_size, dtype_name, number, per_channel, word
from fgcam_onnx.imaging.fitting import Plan, input_form, plan
from fgcam_onnx.imaging.placing import Placement, Prepared, prepared
from fgcam_onnx.imaging.reading import as_rgb

Resize = Literal["crop", "stretch", "pad"]
PadAt = Literal["center", "corner"]
Layout = Literal["NCHW", "NHWC"]
Channels = Literal["RGB", "BGR", "GREY"]
Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos"]

_WORDS: Mapping[str, tuple[str | None, ...]] = MappingProxyType(
    {
        "resize": get_args(Resize),
        "pad_at": get_args(PadAt),
        "layout": (*get_args(Layout), None),
        "channels": (*get_args(Channels), None),
        "interpolation": get_args(Interpolation),
        "dtype": (*DTYPES, None),
    }
)


SMALLEST_SHARE = 0.01
"""Of a picture that a crop may keep, by its side: below, what is cropped fits no memory."""


@dataclass(frozen=True)
class Preprocess:
    """From picture to model input: ``y = (x * scale - mean) / std`` on pixels 0..255.

    Parameters
    ----------
    size : (int, int) or None
        Height and width, 1..8192 each; None: what the model's input says (see `bound`).
    resize : {"crop", "stretch", "pad"}
        ``crop``: the short side to ``size / crop_share``, then the centre, but a picture that has ``size`` is left
        as it is; ``stretch``: straight to ``size``; ``pad``: fitted inside ``size``, the rest filled with ``fill``.
    crop_share : float
        Above 0, at most 1; 0.875 is 224 out of 256.
    fill : int
        Grey of the padding, 0..255.
    pad_at : {"center", "corner"}
        Where ``pad`` lays the picture: in the middle, or in the upper left corner.
    layout : {"NCHW", "NHWC"} or None
        None: from the model's input.
    channels : {"RGB", "BGR", "GREY"} or None
        None: RGB, or GREY where the model takes one channel.
    scale : float
        Not zero.
    mean, std : tuple of float
        One, or one per channel in the order the model takes them; ``std`` not zero. A plain number is
        taken as one.
    dtype : str or None
        A numpy name; None: the model's. For integers the result is rounded and clipped to the range.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos"}
        Pillow's filters, which average when scaling down.
    white : int or None
        The grey that is white, 1..65535, in pictures of more than 8 bits; None: see `imaging.read_image`.

    Raises
    ------
    OptionError
        If a value is outside these ranges, not finite, or not known.
    """

    size: tuple[int, int] | None = None
    resize: Resize = "crop"
    crop_share: float = 0.875
    fill: int = 114
    pad_at: PadAt = "center"
    layout: Layout | None = None
    channels: Channels | None = None
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str | None = None
    interpolation: Interpolation = "bilinear"
    white: int | None = None

    def __post_init__(self) -> None:
        for name, known in _WORDS.items():
            word(getattr(self, name), name=name, known=known)
        if self.size is not None:
            object.__setattr__(self, "size", checked_size(self.size))
        for name in ("mean", "std"):
            object.__setattr__(self, name, per_channel(getattr(self, name), name=name))
        scale, share = number(self.scale, name="scale"), number(self.crop_share, name="crop_share")
        if scale == 0 or 0 in self.std:
            raise OptionError("Preprocessing scale and std must not be zero.")
        if not SMALLEST_SHARE <= share <= 1:
            raise OptionError(f"Preprocessing crop_share {share:g} must be from {SMALLEST_SHARE} to 1.")
        if isinstance(self.fill, bool) or not isinstance(self.fill, int) or not 0 <= self.fill <= 255:
            raise OptionError(f"Preprocessing fill {self.fill!r} must be a whole number in 0..255.")
        if self.white is not None and (type(self.white) is not int or not 1 <= self.white <= 65535):
            raise OptionError(f"Preprocessing white {self.white!r} must be a whole number in 1..65535.")
        if 3 in (len(self.mean), len(self.std)) and self.channels == "GREY":
            raise OptionError("Preprocessing mean and std need one value for GREY, not three.")

    def bound(self, shape: tuple[int | str | None, ...], dtype: np.dtype[Any] | str) -> Preprocess:
        """Fill size, layout, channels and dtype from a model's input, where they are None.

        Parameters
        ----------
        shape : tuple of int, str or None
            ``(N, C, H, W)``, ``(N, H, W, C)``, or either without ``N``; C is 1 or 3. What is not a
            positive int is free. Where either layout would do, it is NCHW.
        dtype : numpy dtype or str
            Of the input.

        Returns
        -------
        Preprocess
            With none of the four left None.

        Raises
        ------
        OptionError
            If the input is not a picture's, does not fit what is set here, leaves height or width free
            with ``size`` None, or has whole numbers where the result has a narrow range such as 0..1.
        """
        form = input_form(shape, layout=self.layout)
        grey = form.channels == 1
        if self.channels is not None and form.channels and grey != (self.channels == "GREY"):
            raise OptionError(
                f"Preprocessing channels {self.channels} do not fit the model's input {shape} with "
                f"{form.channels} channel(s). Set channels to {'GREY' if grey else 'RGB'}."
            )
        filled = replace(
            self,
            size=form.sized(self.size),
            layout=form.layout,
            channels=self.channels or ("GREY" if grey else "RGB"),
            dtype=self.dtype or dtype_name(dtype),
        )
        low, high = filled._range()
        if np.dtype(filled.dtype).kind in "iu" and high - low < 16:
            raise OptionError(
                f"The model takes whole numbers ({filled.dtype}), but preprocessing maps pixels to "
                f"{low:g}..{high:g}. Choose the preset 'none', or set scale to 1."
            )
        return filled

    def view(self, image: Image.Image) -> Image.Image:
        """Return the part of a picture that the model sees, as a picture.

        Parameters
        ----------
        image : PIL.Image.Image
            Any size and mode.

        Returns
        -------
        PIL.Image.Image
            8-bit RGB (in colour for GREY and BGR too), ``size`` large.

        Raises
        ------
        OptionError
            If ``size`` is None.
        ImageError
            If the picture is too elongated to be cropped, or its mode cannot be read.
        """
        return self._plan(image.size)(as_rgb(image, white=self.white), fill=self.fill, filter_name=self.interpolation)

    def placement(self, size: tuple[int, int]) -> Placement:
        """Return where the view of a picture lies in it.

        Parameters
        ----------
        size : (int, int)
            Width and height of the picture, as Pillow has it.

        Raises
        ------
        OptionError, ImageError
            As for `view`.
        """
        return self._plan(size).placement

    def _plan(self, size: tuple[int, int]) -> Plan:
        if self.size is None:
            raise OptionError("Preprocessing has no size yet. Set size, or bind it to a model with bound().")
        return plan(
            size, size=self.size, resize=self.resize, crop_share=self.crop_share, corner=self.pad_at == "corner"
        )

    def __call__(self, image: Image.Image) -> Prepared:
        """Return the array for a picture, which knows where in it it lies.

        Parameters
        ----------
        image : PIL.Image.Image
            Any size and mode.

        Returns
        -------
        Prepared
            An ndarray of shape ``(1, C, H, W)``, or ``(1, H, W, C)`` for NHWC, of ``dtype`` (float32 where None).

        Raises
        ------
        OptionError
            If ``size`` is None, or the result overflows ``dtype``.
        ImageError
            As for `view`.
        """
        seen = self.view(image)
        pixels = np.asarray(seen.convert("L") if self.channels == "GREY" else seen)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        target = np.dtype(self.dtype or "float32")
        work = np.float32 if target.kind == "f" and target.itemsize <= 4 else np.float64
        values = (pixels * work(self.scale) - np.asarray(self.mean, work)) / np.asarray(self.std, work)
        if self.layout != "NHWC":
            values = values.transpose(2, 0, 1)
        return prepared(cast(values[None], target), self.placement(image.size))

    def described(self) -> str:
        """Return, for people, how a picture is fitted and what its pixels become."""
        at = " x ".join(map(str, self.size)) if self.size else "the model's size"
        fits = {
            "crop": f"short side to 1/{self.crop_share:.4g}, centre {at} (a picture of that size is left alone)",
            "stretch": f"stretched to {at}",
            "pad": f"fitted into {at}, the rest {self.fill}"
            + (", in the upper left corner" if self.pad_at == "corner" else ""),
        }
        mean, std = (",".join(f"{v:.4g}" for v in values) for values in (self.mean, self.std))
        by = f"x/{1 / self.scale:.4g}" if abs(self.scale) < 1 else f"x*{self.scale:.4g}"
        shifted = f"{'x' if self.scale == 1 else by}{f' - ({mean})' if any(self.mean) else ''}"
        divided = f"({shifted}) / ({std})" if set(self.std) != {1.0} else shifted
        return f"{fits[self.resize]}, {self.interpolation}; {self.channels or 'RGB'}, {divided}"

    def summary(self) -> dict[str, Any]:
        """Return every field as plain values, such as `preprocess_from` reads again."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    def _range(self) -> tuple[float, float]:
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        ends = [(pixel * self.scale - mean) / std for pixel in (0, 255)]
        return float(np.min(ends)), float(np.max(ends))


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PRESETS: Mapping[str, Preprocess] = MappingProxyType(
    {
        "imagenet": Preprocess(mean=_MEAN, std=_STD),
        "tf": Preprocess(scale=1 / 127.5, mean=(1.0,)),
        "cifar": Preprocess(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616)),
        "caffe": Preprocess(channels="BGR", scale=1.0, mean=(103.939, 116.779, 123.68)),
        "unit": Preprocess(),
        "none": Preprocess(scale=1.0),
    }
)
