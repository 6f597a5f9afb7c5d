"""What people have, told from what a model takes by its type, and made into that."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from ..errors import FgcamError, ImageError, InputError, OptionError
from ..feeding import Read, array_read, joined
from ..graph.model import Model, TensorSpec
from ..imaging import Placement, Preprocess, Seen, read_image
from ..imaging.arrays import as_view, is_array
from ..imaging.reading import as_rgb, damaged, decode_image
from ..preparing import Preparation, prepare
from ..surgery.framing import pictured

if TYPE_CHECKING:
    from ..explainer import Explainer

Picture = Image.Image | str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A picture of Pillow's, a file, a file's bytes, or 8-bit pixels (H, W, 3), (H, W, 4), (H, W, 1) or (H, W)."""

Given = Picture | Sequence[Picture] | ArrayLike | Mapping[str, Any]
"""Pictures, or arrays as the model takes them."""

Prepare = Callable[[Image.Image], Any]
"""Returns an array for a picture."""

CHANNELS = (1, 3, 4)
BYTES = (bytes, bytearray, memoryview)


Specs = tuple[TensorSpec, ...]
"""An input as the file has it, and as a batch of pictures, where it can be seen as one."""


class GuessWarning(UserWarning):
    """How pictures are prepared for a model was guessed, since nothing says it."""


@dataclass(frozen=True)
class Taken:
    """What a model is given, and what is known of it.

    Attributes
    ----------
    x : array or mapping of str to array
        As the model takes it.
    seen : tuple of Seen
        The pictures; empty where arrays were given.
    names : tuple of str
        What they are called.
    """

    x: Any
    seen: tuple[Seen, ...] = ()
    names: tuple[str, ...] = ()


def is_picture(value: object, specs: Specs) -> bool:
    """Tell whether a value is a picture, and not what an input takes: by its type alone.

    8-bit pixels are a picture, unless the input itself takes 8-bit arrays with as many axes.
    """
    if isinstance(value, (Image.Image, str, os.PathLike, *BYTES)):
        return True
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or _takes(value, specs):
        return False
    return value.ndim == 2 or (value.ndim == 3 and value.shape[-1] in CHANNELS)


def _takes(value: NDArray[Any], specs: Specs) -> bool:
    return bool(specs[0].dtype == value.dtype) and _ranks(value, specs)


def _ranks(value: NDArray[Any], specs: Specs) -> bool:
    return value.ndim in [len(spec.shape) for spec in specs]


def refuse_neither(value: Any, specs: Specs) -> None:
    """Refuse what is no picture and no array, and pixels of another form than those that are a picture.

    Raises
    ------
    InputError
        Says what a picture is, or what is to be done to the array.
    """
    if not isinstance(value, list | tuple | int | float) and not hasattr(value, "__array__"):
        raise InputError(
            f"{value!r:.60} is neither picture nor array: a picture is a path, an image of Pillow's, the bytes of a "
            "file or a uint8 array (height, width, 3), several are a list; an array has the model's dimensions"
        )
    array = np.asarray(value) if hasattr(value, "__array__") else None
    if array is None or array.ndim not in (3, 4) or _takes(array, specs):
        return
    if array.dtype.kind == "f" and array.shape[-1] in CHANNELS and not _ranks(array, specs):
        raise InputError(
            f"an array of {array.dtype}, {array.shape}, is no picture, whose pixels are uint8, 0 to 255, and not "
            f"prepared, which for {specs[0].name!r} is {list(specs[0].shape)}"
        )
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] not in CHANNELS and array.shape[0] in CHANNELS:
        raise InputError(
            f"pixels of {array.shape} have their colours first: a picture is (height, width, 3), "
            "array.transpose(1, 2, 0)"
        )


def pictures_of(value: Any, specs: Specs) -> tuple[Any, ...] | None:
    """Return the pictures that a value is, one or a list of them; None where it is arrays.

    Raises
    ------
    InputError
        Some of a list are pictures and some are not.
    """
    if is_picture(value, specs):
        return (value,)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 4 and not _takes(value, specs):
        return tuple(value) if len(value) and value.shape[-1] in CHANNELS else None
    if not isinstance(value, list | tuple) or not value:
        return None
    kinds = [is_picture(one, specs) for one in value]
    if any(kinds) and not all(kinds):
        other = value[kinds.index(False)]
        raise InputError(f"number {kinds.index(False)} of the pictures is none: {_told(other)}")
    return tuple(value) if all(kinds) else None


def _told(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, {value.shape}; pixels are uint8, (height, width, 3)"
    return f"{value!r:.60}"


@dataclass
class Intake:
    """How pictures become what an explainer's model takes.

    Attributes
    ----------
    model : Model
        As it was loaded.
    spec : str, path, mapping, Preprocess, callable or None
        How they are prepared; None: the sidecar or the metadata, else a guess, which is warned of.
    """

    model: Model
    spec: Any = None
    _bound: dict[str, Any] = field(default_factory=dict, repr=False)
    _specs: dict[str, TensorSpec] = field(default_factory=dict, repr=False)

    def taken(self, x: Given, explainer: Explainer) -> Taken:
        """Return what the model takes of ``x``.

        Raises
        ------
        FgcamError
            A picture cannot be read, or does not fit.
        """
        specs = {i.name: i for i in self.model.inputs}
        name = explainer.input
        own = x[name] if isinstance(x, Mapping) and name in x else x
        found = None if isinstance(own, Mapping) else pictures_of(own, self._both(name))
        beside = {n: v for n, v in x.items() if n != name} if isinstance(x, Mapping) else {}
        if found is None and not isinstance(own, Mapping):
            refuse_neither(own, self._both(name))
        if found is None and not any(pictures_of(v, self._both(n)) for n, v in beside.items() if n in specs):
            return Taken(x)
        feeds = {n: self._beside(v, n, explainer) if n in specs else v for n, v in beside.items()}
        if found is None:
            return Taken({**feeds, name: own} if isinstance(x, Mapping) and name in x else feeds)
        read = [
            self._read(p, f"picture {i}" if len(found) > 1 else "the picture", explainer) for i, p in enumerate(found)
        ]
        arrays = joined(explainer, read, feeds)
        rows = [r for r in read for _ in range(len(r.x))]
        seen = tuple(r.seen for r in rows if isinstance(r.seen, Seen))
        return Taken(arrays, seen, tuple(r.path.name for r in rows))

    def _beside(self, value: Any, name: str, explainer: Explainer) -> Any:
        found = pictures_of(value, self._both(name))
        if found is None:
            return value
        return np.concatenate([self._prepared(_read_picture(p, None, name), name)[0] for p in found])

    def _spec(self, name: str) -> TensorSpec:
        if name not in self._specs:
            self._specs[name] = pictured(self.model, next(i for i in self.model.inputs if i.name == name))
        return self._specs[name]

    def _both(self, name: str) -> Specs:
        return next(i for i in self.model.inputs if i.name == name), self._spec(name)

    def _read(self, picture: Any, called: str, explainer: Explainer) -> Read:
        if isinstance(picture, str | os.PathLike) and is_array(Path(picture)):
            return array_read(Path(picture), explainer=explainer)
        frame = explainer.frame
        if frame is not None and frame.flat:
            raise InputError(f"input {explainer.input!r} takes numbers, not pictures; give an array")
        name = _name(picture, called)
        prepared = self.preparation(explainer.input)
        white = prepared.preprocess.white if isinstance(prepared, Preparation) else None
        image = _read_picture(picture, white, called)
        array, seen = self._prepared(image, explainer.input)
        return Read(Path(name), seen, array, "")

    def _prepared(self, image: Image.Image, name: str) -> tuple[NDArray[Any], Seen]:
        prepared = self.preparation(name)
        if isinstance(prepared, Preparation):
            preprocess = prepared.preprocess
            return preprocess(image), Seen(image, preprocess.view(image), preprocess.placement(image.size))
        spec = self._spec(name)
        array = np.asarray(prepared(image))
        if array.ndim == len(spec.shape) - 1:
            array = array[None]
        if array.ndim != 4 or len(array) != 1 or array.dtype.kind not in "fiu":
            raise OptionError(
                f"preprocess makes an array of {array.dtype}, {array.shape}, of a picture: input {name!r} takes "
                f"{spec.dtype}, {list(spec.shape)}, of one picture at a time"
            )
        fixed = [d if isinstance(d, int) else None for d in spec.shape[1:]]
        last = fixed[-1] in CHANNELS[:2] and fixed[0] not in CHANNELS[:2]
        view = as_view(array[0], channel_axis=2 if last else 0)
        placing = getattr(prepared, "placement", None)
        if placing is None:
            return array, Seen(view, view, Placement.whole((view.height, view.width)))
        return array, Seen(image, view, placing(image.size))

    def black(self, name: str) -> NDArray[Any]:
        """Return what black is prepared to for an input, one number for each channel, in the input's axes."""
        array = self._prepared(Image.new("RGB", (64, 64)), name)[0][0]
        last = array.shape[-1] in CHANNELS[:2] and array.shape[0] not in CHANNELS[:2]
        at = tuple(
            slice(None) if a == (2 if last else 0) else slice(n // 2, n // 2 + 1) for a, n in enumerate(array.shape)
        )
        return np.asarray(array[at], np.float32)

    def preparation(self, name: str) -> Preparation | Prepare:
        """Return how pictures are prepared for an input; a guess is warned of, once.

        Raises
        ------
        OptionError
            What was said is not understood, or does not fit the input.
        """
        if name not in self._bound:
            self._bound[name] = self._found(name)
        found: Preparation | Prepare = self._bound[name]
        return found

    def told(self, name: str) -> str:
        """Return how pictures are prepared, for people; what is in the way where they are not."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GuessWarning)
                found = self._bound.get(name) or self._found(name)
        except FgcamError as error:
            return str(error)
        return found.told if isinstance(found, Preparation) else "prepared by a callable"

    def _found(self, name: str) -> Preparation | Prepare:
        image = self._spec(name)
        if isinstance(self.spec, Preprocess):
            return Preparation(self.spec.bound(image.shape, image.dtype), "as given")
        if self.spec is not None and not isinstance(self.spec, str | os.PathLike | Mapping):
            if not callable(self.spec):
                raise OptionError(f"preprocess is a preset, a file, a Preprocess or a callable, not {self.spec!r:.60}")
            return self.spec  # type: ignore[no-any-return]
        spec = Path(self.spec) if isinstance(self.spec, os.PathLike) else self.spec
        found = prepare(self.model, spec, image=image)
        if found.guess:
            warnings.warn(f"preprocessing: {found.told}", GuessWarning, stacklevel=2)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to stand on every picture made, as far as one was prepared."""
        return tuple(n for p in self._bound.values() if isinstance(p, Preparation) for n in p.notes)


def _read_picture(picture: Any, white: int | None, called: str) -> Image.Image:
    """Return a picture of any kind as upright 8-bit RGB."""
    if isinstance(picture, str | os.PathLike):
        text = os.fspath(picture)
        if "://" in text:
            raise ImageError(f"{text}: an address is not fetched; give the path of a picture, or its bytes")
        if os.path.isdir(text) or (not os.path.exists(text) and set("*?[") & set(text)):
            raise ImageError(f"{text}: no picture; imaging.find_images([{text!r}]) lists those that it stands for")
        return read_image(Path(picture), white=white)
    if isinstance(picture, BYTES):
        return decode_image(bytes(picture), name=called, white=white)
    if isinstance(picture, np.ndarray):
        pixels = picture[:, :, 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture
        if not pixels.size:
            raise InputError(f"{called} has no pixels: {picture.shape}")
        return as_rgb(Image.fromarray(np.ascontiguousarray(pixels)), name=called)
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception as error:  # what Pillow has opened and not read yet is decoded here
        raise damaged(called, error) from error
    return as_rgb(upright, name=called, white=white)


def _name(picture: Any, called: str) -> str:
    if isinstance(picture, str | os.PathLike):
        return Path(picture).name
    return Path(getattr(picture, "filename", "") or called).name
