"""Pictures in and out, as pytorch-grad-cam has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, OptionError
from ..imaging.colormaps import COLORMAP_JET, opencv_colors

HALF = (0.5, 0.5, 0.5)


def preprocess_image(
    img: NDArray[Any], *, mean: Sequence[float] = HALF, std: Sequence[float] = HALF
) -> NDArray[np.float32]:
    """Return ``(img - mean) / std`` with the channels first, (1, C, H, W) float32.

    Parameters
    ----------
    img : ndarray of shape (H, W, C) or (H, W)
        Floats as they are, or bytes, which are divided by 255.
    mean, std : sequence of C floats

    Raises
    ------
    InputError
        It is no picture, or has another number of channels than ``mean`` and ``std``.
    """
    pixels = np.asarray(img)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or any(len(v) not in (1, pixels.shape[2]) for v in (mean, std)):
        raise InputError(f"img is (H, W, C), with a mean and std for each of C channels, not {np.shape(img)}")
    scaled = pixels.astype(np.float32) / (np.float32(255) if pixels.dtype == np.uint8 else np.float32(1))
    prepared = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(prepared.transpose(2, 0, 1)[None], np.float32)


def deprocess_image(img: ArrayLike) -> NDArray[np.uint8]:
    """Return any array as bytes: mean at half, a standard deviation a tenth of the range, cut at the ends."""
    values = np.asarray(img, np.float64)
    spread = (values - values.mean()) / (values.std() + 1e-5)
    return np.asarray(np.clip(spread * 0.1 + 0.5, 0, 1) * 255).astype(np.uint8)


def show_cam_on_image(
    img: NDArray[Any],
    mask: NDArray[Any],
    *,
    use_rgb: bool = False,
    colormap: int = COLORMAP_JET,
    image_weight: float = 0.5,
) -> NDArray[np.uint8]:
    """Return a picture with a map over it, equal to pytorch-grad-cam's within 1 of 255.

    Parameters
    ----------
    img : ndarray of shape (H, W, 3)
        Floats of at most 1.
    mask : ndarray of shape (H, W)
        In [0, 1].
    use_rgb : bool
        Whether the colours of the map are RGB, as ``img`` then should be, or BGR.
    colormap : int
        OpenCV's number; default, its jet.
    image_weight : float
        Share of ``img``, in [0, 1].

    Returns
    -------
    ndarray of shape (H, W, 3), uint8

    Raises
    ------
    InputError
        The arrays do not fit.
    OptionError
        The weight is out of range, or the colormap is not known.
    """
    img, mask = np.asarray(img), np.asarray(mask)
    if img.ndim != 3 or img.shape[2] != 3 or img.shape[:2] != mask.shape:
        raise InputError(f"img is (H, W, 3) and mask (H, W), not {img.shape} and {mask.shape}")
    if not (np.isfinite(img).all() and np.isfinite(mask).all()) or img.max() > 1 or mask.min() < 0 or mask.max() > 1:
        raise InputError("img holds floats of at most 1, and mask floats from 0 to 1")
    if not 0 <= image_weight <= 1:
        raise OptionError(f"image_weight is from 0 to 1, not {image_weight}")
    heat = opencv_colors(colormap)[(255 * mask).astype(np.uint8)].astype(np.float32) / 255
    mixed = (1 - image_weight) * (heat if use_rgb else heat[..., ::-1]) + image_weight * img
    top = mixed.max()
    return np.asarray(255 * (mixed / top if top > 0 else mixed)).astype(np.uint8)
