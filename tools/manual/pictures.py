"""Make the manual's pictures from the bundled models, and its table of methods: ``python tools/manual/pictures.py``.

``--only NAME`` makes one of the pictures.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import numpy_helper
from PIL import Image, ImageDraw

import fgcam_onnx
from fgcam_onnx import Explainer, Explanation
from fgcam_onnx.imaging import Preprocess, contact_sheet, find_sidecar, preprocess_from, read_image, read_labels
from fgcam_onnx.methods import METHODS
from fgcam_onnx.targets import Difference

ROOT = Path(__file__).parents[2]
BUNDLED, PAGE, FOLDER = ROOT / "exported_models", ROOT / "docs" / "choosing.md", ROOT / "docs" / "pictures"
LABELS = read_labels(BUNDLED / "shapes.labels.txt")
VGG, RESNET = "vgg_shapes.dynamo", "resnet_shapes.dynamo"
VIT, BOXES = "vit_shapes.dynamo", "boxes_shapes.dynamo"
SIDE, QUALITY = 224, 82
SHAPES = ("circle", "crescent", "cross", "heart", "ring", "square", "star", "triangle")
SETTINGS: dict[str, dict[str, Any]] = {"rise": {"masks": 1500}, "occlusion": {"window": 14, "stride": 4}}
"""What a method needs beside its defaults on pictures as small as these."""

OF_ATTENTION = ("attnlrp", "chefer", "cplrp", "legrad")
"""Methods that are drawn on the transformer."""

Tile = tuple[str, Image.Image]


def photo(name: str) -> Image.Image:
    return read_image(BUNDLED / "pictures" / f"{name}.png")


@cache
def opened(net: str) -> tuple[Any, Preprocess]:
    """Return a bundled model and how its pictures are prepared."""
    model = fgcam_onnx.load(BUNDLED / f"{net}.onnx")
    spec = model.inputs[0]
    return model, preprocess_from(find_sidecar(BUNDLED / f"{net}.onnx")).bound(spec.shape, spec.dtype)


def explained(net: str, name: str, target: Any = None, **options: Any) -> Explanation:
    """Return the explanation of a bundled picture; ``target`` may be a class by its name."""
    model, prepare = opened(net)
    aim = LABELS.index(target) if isinstance(target, str) else target
    return Explainer(model, **options)(prepare(photo(name)), target=aim)


def shown(net: str, name: str, found: Explanation, *, side: int = SIDE, **style: Any) -> Image.Image:
    """Return a bundled picture, enlarged, with its map over it."""
    large = photo(name).resize((side, side), Image.Resampling.LANCZOS)
    return found.overlay(large, preprocess=opened(net)[1], **style)


def drawn(net: str, name: str, target: Any = None, *, side: int = SIDE, **options: Any) -> Image.Image:
    return shown(net, name, explained(net, name, target, **options), side=side)


def plain(name: str, side: int = SIDE) -> Image.Image:
    return photo(name).resize((side, side), Image.Resampling.LANCZOS)


def row(images: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Return pictures side by side on nothing."""
    width = sum(i.width for i in images) + gap * (len(images) - 1)
    sheet = Image.new("RGBA", (width, max(i.height for i in images)))
    at = 0
    for image in images:
        sheet.paste(image, (at, 0))
        at += image.width + gap
    return sheet


def start() -> Image.Image:
    found = explained(RESNET, "two", method="auto")
    return row([plain("two", 280), shown(RESNET, "two", found, side=280, bar=True)])


def classifier() -> Image.Image:
    tiles = [(name, drawn(VGG, name, method="auto", side=160)) for name in SHAPES]
    return contact_sheet(tiles, columns=4, tile=160)


def two_classes() -> Image.Image:
    tiles = [(f"what is {t}?", drawn(RESNET, "two", t, method="auto")) for t in ("ring", "star")]
    return contact_sheet([("picture", plain("two")), *tiles], columns=3, tile=SIDE)


def why_not() -> Image.Image:
    ring, star = LABELS.index("ring"), LABELS.index("star")
    why = explained(RESNET, "two", Difference(ring, star), method="gradcam")
    signed = shown(RESNET, "two", why, signed=True)
    return contact_sheet([("picture", plain("two")), ("ring, and not star", signed)], columns=2, tile=SIDE)


def methods_at(net: str, names: Sequence[str], rows: Sequence[tuple[str, Any]]) -> Image.Image:
    """Return a sheet: a row for each picture and target, a column for each method."""
    tiles: list[Tile] = []
    for name, target in rows:
        tiles.append((f"{name}: {target}?" if isinstance(target, str) else name, plain(name, 160)))
        tiles += [(m, drawn(net, name, target, method=m, side=160, **SETTINGS.get(m, {}))) for m in names]
    return contact_sheet(tiles, columns=len(names) + 1, tile=160)


def one_method(method: str) -> Image.Image:
    """Return the map of ``two`` for star and for ring, side by side."""
    net, options = VIT if method in OF_ATTENTION else RESNET, SETTINGS.get(method, {})
    return row([drawn(net, "two", target, method=method, side=112, **options) for target in ("star", "ring")], 4)


def int8() -> Image.Image:
    """Return the maps of the float net and of its int8 file, which is made as the tutorial makes it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantized(BUNDLED / f"{RESNET}.onnx", file)
        tiles = [("float", drawn(RESNET, "two", method="auto"))]
        prepare = opened(RESNET)[1]
        found = Explainer(file, method="auto")(prepare(photo("two")))
        tiles.append(("int8", shown(RESNET, "two", found)))
    return contact_sheet(tiles, columns=2, tile=SIDE)


def quantized(source: Path, target: Path) -> None:
    """Quantize a bundled net, calibrated on the bundled pictures."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([*SHAPES, "two"])

        def get_next(self) -> dict[str, Any] | None:
            name = next(self.left, None)
            return None if name is None else {"input": opened(source.stem)[1](photo(name))}

    logging.disable(logging.WARNING)  # the quantizer advises to pre-process: not needed for a file this small
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(str(source), str(target), Pictures(), per_channel=True, **types)


def audit() -> Image.Image:
    """Return maps of the net, and of the net with half of a layer's filters gone, as the tutorial prunes it."""
    source = BUNDLED / "vgg_shapes.torchscript.onnx"
    model = onnx.load(source)
    middle = [w for w in model.graph.initializer if len(w.dims) == 4][3]
    values = numpy_helper.to_array(middle).copy()
    values[: len(values) // 2] = 0
    middle.CopyFrom(numpy_helper.from_array(values, middle.name))
    tiles: list[Tile] = []
    for name in ("star", "heart"):
        for what, net in (("tested", onnx.load(source)), ("pruned", model)):
            x = opened(VGG)[1](photo(name))
            found = Explainer(net, method="gradcam")(x, target=LABELS.index(name))
            tiles.append((f"{name}, {what}", shown(VGG, name, found)))
    return contact_sheet(tiles, columns=4, tile=160)


def detector() -> Image.Image:
    tiles: list[Tile] = []
    for label in ("star", "ring"):
        for method, options in (("gradcam", {"layers": "net.neck"}), ("auto", {})):
            found = explained(BOXES, "two", label, method=method, **options)
            image = shown(BOXES, "two", found)
            corners = [float(v) * SIDE / 96 for v in found.described[0].split()[-4:]]
            ImageDraw.Draw(image).rectangle(corners, outline="white", width=2)
            tiles.append((f"{label}, {method}", image))
    return contact_sheet(tiles, columns=4, tile=SIDE)


def transformer() -> Image.Image:
    rows = [("two", "star"), ("two", "ring"), ("heart", None)]
    return methods_at(VIT, ("gradcam", "chefer", "auto"), rows)


def before_after(
    net: str, left: dict[str, Any], right: dict[str, Any], captions: Sequence[str], name: str = "two"
) -> Image.Image:
    tiles = [(c, drawn(net, name, side=SIDE, **o)) for c, o in zip(captions, (left, right), strict=True)]
    return contact_sheet(tiles, columns=2, tile=SIDE)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "start": start,
    "classifier": classifier,
    "two-classes": two_classes,
    "why-not": why_not,
    "int8": int8,
    "audit": audit,
    "detector": detector,
    "transformer": transformer,
    "grid": partial(
        before_after, RESNET, {"method": "fgcam"}, {"method": "auto"}, ("fgcam: a grid", "auto: none")
    ),
    "gallery-resnet": partial(
        methods_at, RESNET, ("gradcam", "layercam", "fgcam", "auto"),
        [("two", "star"), ("two", "ring"), ("heart", None), ("cross", None)],
    ),
    "gallery-vgg": partial(
        methods_at, VGG, ("gradcam", "lrp", "fgcam", "auto"),
        [("two", "star"), ("two", "ring"), ("crescent", None), ("triangle", None)],
    ),
    "gallery-forward": partial(
        methods_at, RESNET, ("scorecam", "reciprocam", "occlusion", "rise"), [("two", "star"), ("two", "ring")],
    ),
    "gallery-gradients": partial(
        methods_at, VGG, ("saliency", "smoothgrad", "integratedgradients", "guidedbackprop"),
        [("star", None), ("ring", None)],
    ),
    **{f"methods/{name}": partial(one_method, name) for name in sorted(METHODS)},
}  # fmt: skip
"""The name of each picture's file, and what draws it."""


def table(page: str) -> str:
    """Return the page with its table of methods as the methods say it."""
    rows = [
        f"| ![{name}](pictures/methods/{name}.webp) | **`{name}`**: {method.summary}. *{method.source}* |"
        for name, method in METHODS.items()
    ]
    made = "\n".join(["| star, ring | method |", "| --- | --- |", *rows])
    start, end = "<!-- methods -->\n", "<!-- end of methods -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{made}\n\n{end}{rest.split(end)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PICTURES, metavar="NAME")
    asked = parser.parse_args()
    for name, draw in PICTURES.items():
        if asked.only in (None, name):
            path = FOLDER / f"{name}.webp"
            print(path.relative_to(ROOT), flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            draw().save(path, quality=QUALITY, method=6)
    PAGE.write_text(table(PAGE.read_text()))


if __name__ == "__main__":
    main()
