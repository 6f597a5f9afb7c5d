"""How pictures are probably prepared for a model, by what its file shows.

Each row of ``EVIDENCE`` is asked in turn, the surest first; ``tools/coverage/guesses.py`` measures how often
each is right.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph.model import Model, TensorSpec
from .imaging import PRESETS, Preprocess
from .opening import Opening, opening

Numbers = tuple[float, float]


@dataclass(frozen=True)
class Guess:
    """A guess at the preprocessing, and what it rests on.

    Attributes
    ----------
    preprocess : Preprocess
    name : str
        Of the preset, or what was made of it.
    evidence : str
        What the file shows, for people.
    kind : str
        The row of the table.
    """

    preprocess: Preprocess
    name: str
    evidence: str
    kind: str = ""


@dataclass(frozen=True)
class Shown:
    """What a file shows of the picture it takes: the input's type and shape, metadata, and what is first done to it."""

    model: Model
    image: TensorSpec
    start: Opening
    metadata: dict[str, str]

    @property
    def producer(self) -> str:
        """Producer and domain in small letters."""
        return f"{self.model.producer} {self.model.proto.domain}".lower()

    @property
    def channels_last(self) -> bool:
        """Whether only the last axis can be colours."""
        shape = self.image.shape[-3:]
        return len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3)

    @property
    def sides(self) -> tuple[int, ...]:
        """Height and width, where they are fixed."""
        shape = self.image.shape[-3:]
        sides = shape[:2] if self.channels_last else shape[1:]
        return tuple(d for d in sides if isinstance(d, int) and d > 0)

    @property
    def grey(self) -> bool:
        """Whether there is one channel."""
        return (self.image.shape[-1] if self.channels_last else self.image.shape[-3:][0]) == 1


def guess(model: Model, image: TensorSpec) -> Guess:
    """Guess how a picture is prepared for input ``image``.

    The input is a picture's: four dimensions, or three. There is always an answer: the last row's is what
    photographs' nets usually take.
    """
    metadata = {p.key: p.value for p in model.proto.metadata_props}
    shown = Shown(model, image, opening(model, image.name), metadata)
    found = ((kind, ask(shown)) for kind, ask in EVIDENCE.items())
    return next(replace(answer, kind=kind) for kind, answer in found if answer is not None and _fits(answer, shown))


def _fits(answer: Guess, shown: Shown) -> bool:
    """Say whether there are as many means as channels."""
    return not (shown.grey and 3 in (len(answer.preprocess.mean), len(answer.preprocess.std)))


def _named(name: str, evidence: str, **changes: Any) -> Guess:
    told = "".join(f", {k} {v}" for k, v in changes.items())
    return Guess(replace(PRESETS[name], **changes) if changes else PRESETS[name], name + told, evidence)


def _ultralytics(shown: Shown) -> Guess | None:
    told = shown.metadata
    if told.get("author") != "Ultralytics" and not {"stride", "names", "task"} <= told.keys():
        return None
    changes: dict[str, Any] = {"crop_share": 1.0} if told.get("task") == "classify" else {"resize": "pad"}
    try:
        size = ast.literal_eval(told.get("imgsz", ""))
        changes |= {"size": (int(size[0]), int(size[1]))} if len(shown.sides) != 2 else {}
    except (ValueError, SyntaxError, TypeError, IndexError):
        pass
    return _named("unit", "its metadata is Ultralytics'", **changes)


def _windows(shown: Shown) -> Guess | None:
    pixels, span = (shown.metadata.get(f"Image.{k}", "") for k in ("BitmapPixelFormat", "NominalPixelRange"))
    names = {"NominalRange_0_255": "none", "Normalized_0_1": "unit", "Normalized_1_1": "tf"}
    if span not in names:
        return None
    changes = {"channels": "BGR"} if pixels.startswith("Bgr") and not shown.grey else {}
    return _named(names[span], f"its metadata says {span}", **changes)


def _whole_numbers(shown: Shown) -> Guess | None:
    kind = shown.image.dtype
    if kind.kind not in "iu":
        return None
    if kind == np.int8:
        return _named("none", "it takes int8: pixels less 128", mean=(128.0,))
    return _named("none", f"it takes {kind.name}: pixels as they are")


def _quantizer(shown: Shown) -> Guess | None:
    """Ask what the first quantizer leaves room for: whoever calibrated it showed it prepared pictures."""
    if (room := shown.start.room) is None:
        return None
    found = []
    for name in ("imagenet", "cifar", "tf", "unit", "none"):
        low, high = _span(PRESETS[name])
        found.append((max(abs(room[0] - low), abs(room[1] - high)) / (high - low), name))
    miss, name = min(found)
    return _named(name, f"its input is quantized from {room[0]:.3g} to {room[1]:.3g}") if miss < 0.06 else None


def _span(preprocess: Preprocess) -> Numbers:
    mean, std = np.asarray(preprocess.mean), np.asarray(preprocess.std)
    ends = [(pixel * preprocess.scale - mean) / std for pixel in (0, 255)]
    return float(np.min(ends)), float(np.max(ends))


def _arithmetic(shown: Shown) -> Guess | None:
    """Ask what is subtracted and divided by first: that is done to pixels, or to pixels over 255."""
    start = shown.start
    told = f"it starts with {start.operators}"
    changes: dict[str, Any] = {"channels": "BGR"} if _blue_first(start.centre) and not shown.grey else {}
    if start.centre is not None:
        centre = float(np.mean(start.centre))
        for name, (low, high) in {"none": (60.0, 160.0), "unit": (0.25, 0.65)}.items():
            if low < centre < high:
                return _named(name, f"{told}, about {centre:.3g}", **changes)
    if start.spread is not None and start.centre is not None and abs(float(np.mean(start.centre))) < 0.3:
        spread = float(np.mean(start.spread))
        for name, (low, high) in {"tf": (0.4, 0.7), "imagenet": (0.8, 1.4)}.items():
            if low < spread < high:
                return _named(name, f"{told}, of deviation {spread:.3g}")
    if start.factor is not None and start.factor < 0.02:
        return _named("none", f"{told}, times {start.factor:.3g}")
    return None


def _blue_first(centre: NDArray[np.float64] | None) -> bool:
    """Ask whether the means rise: photographs have more red than blue."""
    return centre is not None and centre.size == 3 and bool(centre[2] > 1.02 * centre[0])


def _small_weights(shown: Shown) -> Guess | None:
    """Ask whether the first weights are so small that only pixels up to 255 make something of them."""
    gain = shown.start.gain
    if gain is None or gain > 0.1:
        return None
    told = f"its first weights are small ({gain:.2g} a filter): pixels up to 255"
    if shown.image.name == "images" and not shown.grey:
        changes: dict[str, Any] = {"channels": "BGR", "resize": "pad", "pad_at": "corner"}
        return _named("none", f"{told}, and its input is called images, as YOLOX's", **changes)
    return _named("none", told)


def _caffe(shown: Shown) -> Guess | None:
    if "caffe" not in shown.producer or shown.grey:
        return None
    return _named("caffe", f"it was written by {shown.model.producer}")


def _core_ml(shown: Shown) -> Guess | None:
    name = next((n for n in ("winmltools", "onnxmltools", "coreml", "cntk") if n in shown.producer), None)
    return _named("none", f"it was written by {shown.model.producer}") if name else None


def _grey(shown: Shown) -> Guess | None:
    return _named("unit", "it takes one channel") if shown.grey else None


def _paddle(shown: Shown) -> Guess | None:
    if "paddle" not in shown.producer:
        return None
    if len(shown.sides) < 2:
        return _named("tf", "it was written by PaddlePaddle with a free size, as PaddleOCR's")
    return _named("imagenet", "it was written by PaddlePaddle")


def _keras(shown: Shown) -> Guess | None:
    if not shown.channels_last:
        return None
    small = bool(shown.sides) and max(shown.sides) < 96
    return _named("unit" if small else "tf", f"its colours come last, as Keras has them{', and it is small' * small}")


def _hugging_face(shown: Shown) -> Guess | None:
    return _named("tf", "its input is called pixel_values") if shown.image.name == "pixel_values" else None


def _cifar(shown: Shown) -> Guess | None:
    return _named("cifar", "its pictures are 32 x 32") if shown.sides == (32, 32) else None


def _usual(shown: Shown) -> Guess:
    name = "unit" if shown.grey else "imagenet"
    return _named(name, "nothing in the file tells, and most photographs' nets take it")


EVIDENCE: dict[str, Callable[[Shown], Guess | None]] = {
    "Ultralytics' metadata": _ultralytics,
    "Windows ML's metadata": _windows,
    "an integer input": _whole_numbers,
    "a quantizer at the input": _quantizer,
    "arithmetic at the input": _arithmetic,
    "small first weights": _small_weights,
    "written by Caffe's converters": _caffe,
    "written by Core ML's or CNTK's": _core_ml,
    "one channel": _grey,
    "written by PaddlePaddle": _paddle,
    "colours last": _keras,
    "an input called pixel_values": _hugging_face,
    "32 x 32 pixels": _cifar,
    "nothing": _usual,
}
"""What is asked of a file, in order."""
