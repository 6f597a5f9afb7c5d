"""Pictures and the files beside a model: valid ones of every kind, mutated, and read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from mutated import BYTES, WORDS, some
from outcomes import Outcome, Rng
from PIL import Image

from fgcam_onnx.errors import FgcamError
from fgcam_onnx.imaging import find_label, find_sidecar, preprocess_from, read_image, read_labels, sidecar_labels
from fgcam_onnx.imaging.preprocess import PRESETS

FORMATS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("P", "L"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
    "TGA": ("L", "P", "RGB", "RGBA"),
}


def picture(rng: Rng) -> bytes:
    """Draw a small picture of any format and mode."""
    kind = some(rng, list(FORMATS))
    mode = some(rng, FORMATS[kind])
    height, width = (int(v) for v in rng.integers(1, 24, 2))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (height, width)).astype(np.uint16))
    elif mode in ("I", "F"):
        image = Image.fromarray(rng.integers(0, 4096, (height, width)).astype(np.int32 if mode == "I" else np.float32))
    else:
        rgb = Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        image = rgb.convert("RGB").convert("L").convert(mode) if mode in ("1", "LA") else converted(rgb, mode)
    file = io.BytesIO()
    more: dict[str, Any] = {}
    if kind in ("JPEG", "PNG", "WEBP") and rng.random() < 0.4:
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(0, 10))
        more["exif"] = exif
    if kind in ("GIF", "WEBP", "TIFF") and rng.random() < 0.3 and mode not in ("I", "F", "I;16"):
        more |= {"save_all": True, "append_images": [image.rotate(90)]}
    if kind == "TIFF" and mode in ("L", "RGB") and rng.random() < 0.5:
        more["compression"] = some(rng, ("tiff_lzw", "tiff_adobe_deflate", "packbits"))
    image.save(file, kind, **more)
    return file.getvalue()


def converted(rgb: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
    return rgb.convert(mode)


def read_picture(content: bytes, rng: Rng, folder: Path) -> Outcome:
    """Read a picture, prepare it, and hold both against what they promise."""
    path = folder / f"picture.{some(rng, ('png', 'jpg', 'tiff', 'JPEG', 'bin'))}"
    path.write_bytes(content)
    image = read_image(path, max_pixels=10**6)
    if image.mode != "RGB" or image.info or not 0 < image.width * image.height <= 10**6:
        return Outcome("wrong", "the picture is not as promised", repr(image))
    if (plain := upright_size(path)) not in (None, image.size):
        return Outcome("wrong", "the picture has another size", f"{image.size} {plain}")
    recipe = some(rng, list(PRESETS.values()))
    layout = some(rng, ("NCHW", "NHWC"))
    shape = (None, 3, 8, 9) if layout == "NCHW" else (None, 8, 9, 3)
    bound = recipe.bound(shape, np.dtype(np.float32))
    x = bound(image)
    if x.shape != (1, *shape[1:]) or x.dtype != np.float32 or not np.isfinite(x).all():
        return Outcome("wrong", "the array is not as promised", f"{x.shape} {x.dtype}")
    return Outcome("right")


def upright_size(path: Path) -> tuple[int, int] | None:
    """Return the size that Pillow alone finds; None where it stumbles over what says how the picture is turned."""
    try:
        with Image.open(path) as plain:
            plain.load()
            turned = plain.getexif().get(0x0112) in (5, 6, 7, 8)
            return plain.size[::-1] if turned else plain.size
    except Exception:  # decoders raise anything
        return None


def picture_bytes(name: str) -> Any:
    """Return the class of pictures of which ``BYTES[name]`` changes the bytes."""
    return lambda rng, folder: read_picture(BYTES[name](picture(rng), rng), rng, folder)


def picture_whole(rng: Rng, folder: Path) -> Outcome:
    """Read a picture that nothing was done to: a refusal is wrong."""
    try:
        return read_picture(picture(rng), rng, folder)
    except FgcamError as error:
        if "too" in str(error):
            raise
        return Outcome("wrong", "a valid picture is refused", str(error))


# ---- beside a model

PLAIN: tuple[dict[str, Any], ...] = (
    {"preprocess": "imagenet", "labels": "labels.txt"},
    {"preprocess": {"size": [8, 8], "mean": [0.5], "std": [0.5, 0.2, 0.1], "scale": "1/255", "resize": "pad"}},
    {"preset": "caffe", "size": [16, 8], "layout": "NHWC", "channel_order": "BGR", "fill": 0, "pad_at": "corner"},
    {"mean": 127.5, "std": 127.5, "scale": 1, "interpolation": "bicubic", "dtype": "float32", "white": 255},
    {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 8, "width": 8}, "resample": 2,
     "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392},
    {"do_center_crop": True, "crop_size": {"height": 8, "width": 8}, "size": {"shortest_edge": 10}, "do_rescale": True},
    {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 8, "crop_pct": 0.9, "image_mean": [0.4]},
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 255, 10**30, 1e308, 1e-308, float("nan"), float("inf"), "", "imagenet", "1/0", "nan", "8x8",
    [], [1], [8, 8], [0, 0], [1, 2, 3, 4], [[1]], [None], {}, {"preset": "tf"}, {"height": 8},
    {"height": "a", "width": 8}, {"shortest_edge": None}, {"height": -1, "width": 1e9}, *WORDS,
)  # fmt: skip
LABELS = (
    '["a", "b"]',
    '{"0": "a", "1": "b"}',
    '{"id2label": {"0": "cat", "1": "dog, hound"}}',
    '[["n1", "a"], ["n2", "b"]]',
    "a\nb\nc\n",
)


def changed(content: Any, rng: Rng) -> Any:
    """Change a value, a key, or what is inside."""
    if not isinstance(content, dict) or not content or rng.random() < 0.1:
        return some(rng, VALUES)
    key = some(rng, list(content))
    if isinstance(content[key], dict) and rng.random() < 0.6:
        return {**content, key: changed(content[key], rng)}
    way = rng.random()
    if way < 0.6:
        return {**content, key: some(rng, VALUES)}
    if way < 0.75:
        return {k: v for k, v in content.items() if k != key}
    keys = [k for p in PLAIN for k in p] + [
        "preprocess",
        "do_pad",
        "include_top",
        "do_flip_channel_order",
        "x",
        *WORDS[:4],
    ]
    return {**content, some(rng, keys): some(rng, VALUES)}


def sidecar_fields(rng: Rng, folder: Path) -> Outcome:
    """Sidecars of which values, keys and kinds are others."""
    content = dict(some(rng, PLAIN))
    for _ in range(int(rng.integers(1, 3))):
        content = changed(content, rng)
    return read_sidecar(json.dumps(content).encode(), some(rng, LABELS).encode(), ".json", rng, folder)


def sidecar_bytes(rng: Rng, folder: Path) -> Outcome:
    """Sidecars and labels of which bytes are others."""
    toml = b'preset = "imagenet"\nsize = [8, 8]\nmean = [0.5, 0.4, 0.3]\nlabels = "labels.txt"\n[x]\ny = 1\n'
    suffix = some(rng, (".json", ".toml"))
    content = json.dumps(some(rng, PLAIN)).encode() if suffix == ".json" else toml
    labels = some(rng, LABELS).encode()
    change = BYTES[some(rng, list(BYTES))]
    if rng.random() < 0.3:
        return read_sidecar(content, change(labels, rng), suffix, rng, folder)
    return read_sidecar(change(content, rng), labels, suffix, rng, folder)


def read_sidecar(content: bytes, labels: bytes, suffix: str, rng: Rng, folder: Path) -> Outcome:
    """Read the files beside a model, and hold what they say against itself."""
    (folder / f"model{suffix}").write_bytes(content)
    (folder / "labels.txt").write_bytes(labels)
    named = read_labels(folder / "labels.txt") if rng.random() < 0.3 else ()
    if named and len(set(named)) == len(named) and "," not in named[0] and named[0].strip():
        find_label(named, named[0])
    found = find_sidecar(folder / "model.onnx")
    if found is None:
        return Outcome("right", "", "no sidecar")
    beside = sidecar_labels(found)
    if beside is not None:
        if not beside.resolve().is_relative_to(folder.resolve()):
            return Outcome("wrong", "labels outside of the folder", str(beside))
        read_labels(beside)
    recipe = preprocess_from(found)
    if preprocess_from(recipe.summary()) != recipe:
        return Outcome("wrong", "a recipe does not read its own summary", repr(recipe))
    bound = recipe.bound((None, 3, 8, 8), np.dtype(np.float32))
    x = bound(Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)))
    if x.dtype != np.dtype(bound.dtype) or not np.isfinite(x.astype(np.float64)).all() or x.ndim != 4:
        return Outcome("wrong", "the array is not as promised", f"{x.shape} {x.dtype} {recipe}")
    recipe.described()
    return Outcome("right")


FILES = {
    **{f"picture, {n.replace('_', ' ')}": picture_bytes(n) for n in BYTES},
    "picture, whole": picture_whole,
    "sidecar, fields": sidecar_fields,
    "sidecar, bytes": sidecar_bytes,
}
