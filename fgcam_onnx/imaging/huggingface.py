"""Reading a Hugging Face ``preprocessor_config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgcam_onnx.errors import OptionError

MARKS = frozenset(
    {
        "image_processor_type", "feature_extractor_type", "image_mean", "image_std", "do_resize",
        "do_center_crop", "do_rescale", "do_normalize", "rescale_factor", "crop_size", "crop_pct",
    }
)  # fmt: skip
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_REFUSED = ("do_pad", "do_thumbnail", "do_align_long_axis", "rescale_offset", "do_reduce_labels")
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def fields_from(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the fields of a `Preprocess` for a Hugging Face image processor's settings.

    Parameters
    ----------
    config : mapping
        The content of the file. Keys that do not bear on the pixels are passed over.
    where : str
        What to call it in an error.

    Returns
    -------
    dict
        Keyword arguments of `Preprocess`, not yet checked.

    Raises
    ------
    OptionError
        If a setting has no equivalent here, or is malformed.
    """
    refused = [key for key in _REFUSED if config.get(key)]
    if refused:
        raise _unlike(where, f"{refused[0]} has no equivalent here")
    return {**_geometry(config, where=where), **_values(config, where=where)}


def _geometry(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    crops = config.get("do_center_crop", "crop_size" in config)
    if not config.get("do_resize", True):
        if crops:
            raise _unlike(where, "a centre crop without a resize has no equivalent here")
        return {"resize": "stretch"}
    resample = config.get("resample")
    if resample is not None and resample not in tuple(_RESAMPLE):
        raise _unlike(where, f"resample {resample!r} has no equivalent here (0 to 3 have)")
    fields: dict[str, Any] = {"interpolation": _RESAMPLE[resample]} if resample is not None else {}
    size = config.get("size")
    if size is None:
        for key in ("crop_size", "crop_pct"):
            if config.get(key) is not None:
                raise _unlike(where, f"{key} without a size has no equivalent here")
        return {**fields, "resize": "crop" if crops else "stretch"}
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    if config.get("crop_pct") is not None or kind.startswith("ConvNext"):
        return {**fields, **_convnext(size, share=config.get("crop_pct") or 0.875, where=where)}
    box = _box(size)
    short = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if not crops:
        if box is None:
            raise _unlike(where, f"size {size!r} leaves the shape of the input open")
        return {**fields, "resize": "stretch", "size": box}
    crop = _box(config.get("crop_size", size))
    if crop is not None and isinstance(size, Mapping) and box is not None:
        if crop != box:
            raise _unlike(where, f"a stretch to {box} cropped to {crop} has no equivalent here")
        return {**fields, "resize": "stretch", "size": box}
    square = crop is not None and crop[0] == crop[1] and isinstance(crop[0], int)
    if crop is None or not square or not isinstance(short, int) or not 0 < crop[0] <= short:
        raise _unlike(where, f"size {size!r} with crop_size {config.get('crop_size')!r} has no equivalent here")
    return {**fields, "resize": "crop", "size": crop, "crop_share": crop[0] / short}


def _convnext(size: Any, *, share: Any, where: str) -> dict[str, Any]:
    side = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if not isinstance(side, int) or not isinstance(share, int | float) or not 0.01 <= share <= 1 or side < 1:
        raise _unlike(where, f"size {size!r} with crop_pct {share!r} cannot be read")
    if side >= 384:  # ConvNextImageProcessor stretches from this size on.
        return {"resize": "stretch", "size": (side, side)}
    return {"resize": "crop", "size": (side, side), "crop_share": side / int(side / share)}


def _values(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"scale": config.get("rescale_factor", 1 / 255)}
    if not config.get("do_rescale", True):
        fields["scale"] = 1.0
    mean, std = _triple(config, "image_mean", where=where), _triple(config, "image_std", where=where)
    if config.get("do_normalize", "image_mean" in config):
        fields |= {"mean": mean, "std": std}
    if config.get("include_top"):  # EfficientNetImageProcessor divides by std once more.
        again = [value * value for value in std] if "std" in fields else std
        fields["std"] = again
    if config.get("do_flip_channel_order"):
        fields["channels"] = "BGR"
        fields |= {key: list(reversed(fields[key])) for key in ("mean", "std") if key in fields}
    return fields


def _triple(config: Mapping[str, Any], key: str, *, where: str) -> list[float]:
    values = config.get(key)
    values = _IMAGENET[key] if values is None else values
    values = values if isinstance(values, list) else [values]
    if not all(isinstance(value, int | float) for value in values):
        raise _unlike(where, f"{key} {values!r} must be numbers")
    return list(values)


def _box(size: Any) -> tuple[Any, Any] | None:
    if isinstance(size, Mapping):
        return (size["height"], size["width"]) if {"height", "width"} <= set(size) else None
    return (size, size)


def _unlike(where: str, what: str) -> OptionError:
    return OptionError(f"{where}: {what}. Write the preprocessing as a mapping with size, resize, scale, mean and std.")
