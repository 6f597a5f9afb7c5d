"""What is known of the pictures: their classes, and where the object is."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from ..errors import ImageError, OptionError, TargetError
from ..files import opened
from ..imaging import Preprocess, find_label
from ..metrics.case import Bools

T = TypeVar("T")
DAMAGED = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, csv.Error,
    ElementTree.ParseError,
)  # fmt: skip
"""What reading a file raises that others wrote."""
CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))


@dataclass(frozen=True)
class Box:
    """A box in pixels of a picture, ``x0 <= x < x1``; what is in it, where that is told; the picture's size, too."""

    x0: float
    y0: float
    x1: float
    y1: float
    name: str = ""
    size: tuple[int, int] | None = None


class Regions(Protocol):
    """Says where the object is."""

    def of(self, key: str, image: Image.Image, target: int) -> Bools | None:
        """Return where the object of class ``target`` is in an upright picture, (height, width); None if not told.

        Raises
        ------
        ImageError
            What is told does not fit the picture.
        """
        ...

    def has(self, key: str) -> bool:
        """Return whether anything is told of a picture."""
        ...


def named(key: str, names: Mapping[str, T]) -> T | None:
    """Return what is told of picture ``key`` under its path, the end of it, or that without its extension.

    Raises
    ------
    OptionError
        Several names fit.
    """
    wanted = PurePosixPath(key)
    for plain in (lambda p: p.parts, lambda p: (*p.parts[:-1], p.stem)):
        own = plain(wanted)
        fits = [n for n in names if _ends_alike(own, plain(PurePosixPath(n.replace("\\", "/"))))]
        if len(fits) > 1:
            raise OptionError(f"{key} may be {' or '.join(fits[:3])}; name pictures by their path")
        if fits:
            return names[fits[0]]
    return None


def _ends_alike(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    shared = min(len(a), len(b))
    return a[-shared:] == b[-shared:]


def indexed(names: Mapping[str, T]) -> Callable[[str], T | None]:
    """Return :func:`named` for many look-ups: only names that end alike are compared."""
    stems: dict[str, dict[str, T]] = {}
    for name, value in names.items():
        stems.setdefault(PurePosixPath(name.replace("\\", "/")).stem, {})[name] = value
    return lambda key: named(key, stems.get(PurePosixPath(key).stem, {}))


@dataclass(frozen=True)
class Boxes:
    """Regions made of boxes.

    Attributes
    ----------
    boxes : mapping of str to sequence of Box
        By picture.
    labels : sequence of str
        Class names. Where every box has the name of a class, those of the class that is explained count; else all do.
    """

    boxes: Mapping[str, Sequence[Box]]
    labels: Sequence[str] = ()
    _classes: dict[str, int] = field(default_factory=dict, repr=False)
    _find: list[Callable[[str], Sequence[Box] | None]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._find.append(indexed(self.boxes))
        try:
            names = {box.name for boxes in self.boxes.values() for box in boxes}
            self._classes.update({n: find_label(self.labels, n) for n in names} if self.labels else {})
        except TargetError:
            self._classes.clear()

    @property
    def by_class(self) -> bool:
        """Whether only the boxes of the class that is explained count."""
        return bool(self._classes)

    def has(self, key: str) -> bool:
        """Return whether boxes are told of a picture."""
        return bool(self._find[0](key))

    def of(self, key: str, image: Image.Image, target: int) -> Bools | None:
        """Return where the boxes are."""
        boxes = self._find[0](key)
        if boxes is None:
            return None
        region = np.zeros((image.height, image.width), bool)
        for box in boxes:
            if box.size is not None and box.size != (image.width, image.height):
                raise ImageError(
                    f"{key}: boxes are of a picture of {box.size[0]} x {box.size[1]}, this one is "
                    f"{image.width} x {image.height}"
                )
            if not self.by_class or self._classes[box.name] == target:
                top, left = max(0, round(box.y0)), max(0, round(box.x0))
                region[top : max(top + 1, round(box.y1)), left : max(left + 1, round(box.x1))] = True
        return region if region.any() else None


@dataclass(frozen=True)
class Masks:
    """Regions made of pictures, bright or of any class where the object is, named like the pictures."""

    folder: Path

    def has(self, key: str) -> bool:
        """Return whether a picture has a mask."""
        return os.path.isfile(self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{PurePosixPath(key).stem}.png"

    def of(self, key: str, image: Image.Image, target: int) -> Bools | None:
        """Return where the mask is set."""
        path = self._path(key)
        if not os.path.isfile(path):
            return None
        try:
            with Image.open(path, formats=["PNG"]) as opened:
                opened.load()
                palette = opened.mode == "P"
                values = np.asarray(opened if palette else opened.convert("L"))
        except Exception as error:  # decoders raise anything on damaged files
            raise ImageError(f"{path}: not a mask that can be read ({error})") from error
        if values.shape != (image.height, image.width):
            raise ImageError(f"{path}: is {values.shape[1]} x {values.shape[0]}, {key} {image.width} x {image.height}")
        region = (values > 0) & (values < 255) if palette else 2 * values.astype(int) > values.max()
        return region if region.any() else None


def in_view(region: Bools, preprocess: Preprocess) -> Bools | None:
    """Return the part of a region that the model sees, at its size; None where it sees nothing of it."""
    picture = Image.fromarray(np.where(region, 255, 0).astype(np.uint8))
    seen = np.asarray(replace(preprocess, fill=0).view(picture))[:, :, 0] > 127
    return seen if seen.any() else None


def read_boxes(path: str | Path, *, labels: Sequence[str] = ()) -> Boxes:
    """Read boxes.

    Parameters
    ----------
    path : str or Path
        COCO's ``.json``; a ``.csv`` with the columns ``file``, ``x0, y0, x1, y1`` (or ``xmin, ymin, xmax, ymax``) and,
        if told, ``class``; or Pascal VOC's ``.xml``, one file or a folder of them.
    labels : sequence of str
        Class names, to know whose boxes are whose.

    Raises
    ------
    OptionError
        It cannot be read, is of another form, or has no box.
    """
    where = Path(path)
    try:
        if os.path.isdir(where) or where.suffix.lower() == ".xml":
            boxes = _from_voc(sorted(where.glob("*.xml")) if os.path.isdir(where) else [where])
        elif where.suffix.lower() == ".json":
            boxes = _from_coco(json.loads(_text(where)))
        elif where.suffix.lower() == ".csv":
            boxes = _from_csv(where)
        else:
            raise ValueError("COCO is .json, Pascal VOC .xml or a folder of them, a table .csv")
    except DAMAGED as error:
        raise OptionError(f"{where}: not boxes that can be read ({error!s})") from error
    if not any(boxes.values()):
        raise OptionError(f"{where}: holds no box")
    return Boxes(boxes, labels)


def _text(path: Path) -> str:
    with opened(path) as file:
        return file.read().decode("utf-8-sig")


def _from_coco(content: Any) -> dict[str, list[Box]]:
    if not isinstance(content, Mapping) or not {"images", "annotations"} <= content.keys():
        raise ValueError("COCO has images and annotations")
    classes = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
    images = {i["id"]: i for i in content["images"]}
    boxes: dict[str, list[Box]] = {str(i["file_name"]): [] for i in images.values()}
    for entry in content["annotations"]:
        image = images[entry["image_id"]]
        x, y, width, height = (float(v) for v in entry["bbox"])
        size = (int(image["width"]), int(image["height"])) if {"width", "height"} <= image.keys() else None
        name = classes.get(entry.get("category_id"), "")
        boxes[str(image["file_name"])].append(Box(x, y, x + width, y + height, name, size))
    return boxes


def _from_voc(files: Sequence[Path]) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = {}
    for file in files:
        with opened(file) as xml:
            root = ElementTree.parse(xml).getroot()
        sides = [int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height")]
        size = (sides[0], sides[1]) if all(sides) else None
        found = boxes.setdefault(f"{file.stem}", [])
        for entry in root.iter("object"):
            x0, y0, x1, y1 = (float(entry.findtext(f"bndbox/{n}") or "missing") for n in CORNERS[1])
            # VOC counts pixels from 1, and its last pixel belongs to the box
            found.append(Box(x0 - 1, y0 - 1, x1, y1, entry.findtext("name") or "", size))
    return boxes


def _from_csv(path: Path) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = {}
    for row in csv.DictReader(io.StringIO(_text(path), newline="")):
        corners = next((c for c in CORNERS if set(c) <= row.keys()), None)
        if corners is None or "file" not in row:
            raise ValueError("the columns are file, x0, y0, x1, y1 and, if told, class")
        x0, y0, x1, y1 = (float(row[c]) for c in corners)
        boxes.setdefault(row["file"], []).append(Box(x0, y0, x1, y1, row.get("class") or ""))
    return boxes


def read_classes(path: str | Path, *, labels: Sequence[str] = ()) -> dict[str, int]:
    """Read which class each picture is of.

    Parameters
    ----------
    path : str or Path
        A ``.csv`` with the columns ``file`` and ``class``; or a ``.json`` with an object from file to class, or a list
        of objects with ``file`` and ``class`` (or ``label``). A class is an index or a name.
    labels : sequence of str
        Class names.

    Raises
    ------
    OptionError
        It cannot be read, or is of another form.
    TargetError
        A name is not among ``labels``.
    """
    where = Path(path)
    try:
        if where.suffix.lower() == ".csv":
            pairs = [(row["file"], row["class"]) for row in csv.DictReader(io.StringIO(_text(where), newline=""))]
        else:
            content = json.loads(_text(where))
            listed = (
                [(e["file"], e["class"] if "class" in e else e["label"]) for e in content]
                if isinstance(content, list)
                else None
            )
            pairs = list(content.items()) if listed is None else listed
    except DAMAGED as error:
        raise OptionError(f"{where}: not a list of files and their classes ({error!r})") from error
    if not pairs:
        raise OptionError(f"{where}: names no file")
    return {str(name): _class(value, labels) for name, value in pairs}


def _class(value: Any, labels: Sequence[str]) -> int:
    text = str(value).strip()
    if text.isdigit():
        return int(text)
    return find_label(labels, text)
