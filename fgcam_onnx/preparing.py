"""How pictures are prepared, and how that is known: said, beside the model, or guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OptionError

if TYPE_CHECKING:
    from .graph.model import Model, TensorSpec
    from .imaging import Preprocess

OVERRIDES = ("size", "resize", "layout", "channels", "scale", "mean", "std", "white")
"""Options that change a field of the preprocessing."""

NUMBERS = ("scale", "mean", "std")
"""Those that say all that has to be known of a model."""


@dataclass(frozen=True)
class Preparation:
    """A preprocessing bound to a model's input, and where it comes from.

    Attributes
    ----------
    preprocess : Preprocess
    origin : str
        What said it: a preset, a file, options, or that it is a guess.
    guess : str
        What a guess rests on; empty where something said it.
    """

    preprocess: Preprocess
    origin: str
    guess: str = ""

    @property
    def told(self) -> str:
        """The origin, and what is done to a picture."""
        if self.preprocess.size is None:
            return self.origin
        since = f", since {self.guess}: pass preprocess= (--preprocess) to be sure" if self.guess else ""
        return f"{self.origin}{since}; {self.preprocess.described()}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to stand on every picture made."""
        return (f"preprocessing: {self.origin}",) if self.guess else ()

    def summary(self) -> dict[str, Any]:
        """Return it as plain values, such as :func:`recorded` reads again."""
        return {"from": self.origin, "guess": self.guess or None, **self.preprocess.summary()}


def recorded(told: Mapping[str, Any]) -> Preparation:
    """Return what a summary tells.

    Raises
    ------
    OptionError
        Something of it is missing or not understood.
    """
    from .imaging import preprocess_from

    fields = {n: v for n, v in told.items() if n not in ("from", "guess")}
    return Preparation(preprocess_from(fields), str(told.get("from")), str(told.get("guess") or ""))


def untouched() -> Preparation:
    """Return what is done to arrays, which are taken as they are."""
    from .imaging import Preprocess

    return Preparation(Preprocess(), "none, arrays are taken as they are")


def prepare(
    model: Model, spec: str | Path | Mapping[str, Any] | None, *, image: TensorSpec, **overrides: Any
) -> Preparation:
    """Return the preprocessing and where it comes from: ``spec``, a sidecar, the numbers given, or a guess.

    Raises
    ------
    OptionError
        The specification is not understood or does not fit the model's input.
    """
    from .guessing import guess
    from .imaging import Preprocess, find_sidecar, preprocess_from

    if len(image.shape) != 4:
        sizes = " x ".join(map(str, image.shape))
        raise OptionError(
            f"input {image.name!r} is {sizes}: pictures need N x C x H x W or N x H x W x C. `fgcam explain` takes "
            "signals, volumes and clips as arrays (.npy), sounds (.wav) and scans (.nii)"
        )
    changes = {k: v for k, v in overrides.items() if v is not None}
    flags = " ".join(f"--{k}" for k in changes)
    sidecar = find_sidecar(model.path) if spec is None and model.path is not None else None
    why = ""
    if spec is not None:
        found, origin = preprocess_from(spec), _origin(spec)
    elif sidecar is not None:
        found, origin = preprocess_from(sidecar), sidecar.name
    elif set(NUMBERS) <= changes.keys():
        found, origin, flags = Preprocess(), flags, ""
    else:
        guessed = guess(model, image)
        found, origin, why = guessed.preprocess, f"{guessed.name}, a guess", guessed.evidence
    changed = replace(found, **changes) if changes else found
    return Preparation(changed.bound(image.shape, image.dtype), f"{origin} with {flags}" if flags else origin, why)


def _origin(spec: str | Path | Mapping[str, Any]) -> str:
    if isinstance(spec, Mapping):
        return "as given"
    return Path(spec).name if Path(spec).suffix else str(spec)


def labels_file_of(model: Path, given: Path | None) -> Path | None:
    """Return the file of class names: the one given, or the one that the model's sidecar names."""
    from .imaging import find_sidecar, sidecar_labels

    sidecar = find_sidecar(model) if given is None else None
    return given if sidecar is None else sidecar_labels(sidecar)
