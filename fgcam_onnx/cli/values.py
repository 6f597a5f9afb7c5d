"""Turn the strings of the command line into values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError, TargetError

if TYPE_CHECKING:
    from ..graph.model import TensorSpec
    from ..imaging import Preprocess


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``HEIGHTxWIDTH`` or one number for a square."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return (height, width)."""
        if isinstance(value, tuple):
            return value
        try:
            sides = [int(s) for s in str(value).lower().split("x")]
        except ValueError:
            sides = []
        if len(sides) not in (1, 2) or min(sides) < 1:
            self.fail(f"{value!r} is not a size such as 224 or 192x256", param, ctx)
        return sides[0], sides[-1]


class Numbers(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Comma-separated numbers, one for all channels or one for each."""

    name = "N[,N,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers."""
        try:
            return value if isinstance(value, tuple) else tuple(float(v) for v in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.485,0.456,0.406", param, ctx)


def parse_target(text: str | None, labels: Sequence[str]) -> tuple[tuple[int | None, ...], int]:
    """Return (targets, top): class indices, or how many top classes to explain.

    Raises
    ------
    TargetError
        A label that is not known, or given without a labels file.
    """
    from ..imaging import find_label

    if text is None or text == "top":
        return (None,), 0
    if text.startswith("top:"):
        count = text.removeprefix("top:")
        if not re.fullmatch(r"0*[1-9][0-9]{0,8}", count):
            raise TargetError(f"--target {text}: write top:K with K at least 1, such as top:3")
        return (None,), int(count)
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return (int(text),), 0
    if not labels:
        raise TargetError(f"--target {text!r} is a label, but there are no labels; pass --labels FILE")
    return (find_label(labels, text),), 0


SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""What a setting that is either on or off can be given as."""


WANTED = {int: "a whole number", float: "a number", bool: "true or false", tuple: "one number or several"}


def parse_settings(pairs: Sequence[str], *, method: str, base: str | None) -> dict[str, Any]:
    """Return the settings given as ``NAME=VALUE``, each of its default's type.

    Raises
    ------
    OptionError
        Not of that form, given twice, not known to ``method`` (or to the ``base`` it refines), or not of its type.
    """
    from ..methods import fitted_settings, settings_of

    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise OptionError(f"--set {pair!r}: write NAME=VALUE, such as masks=500")
        if name in texts:
            raise OptionError(f"--set {name} is given twice")
        texts[name] = text
    known = settings_of(method, base=base or "", given=texts)
    found = {n: _setting(n, text, known[n]) if n in known else text for n, text in texts.items()}
    fitted_settings(method, found, base=base or "")
    return found


def _setting(name: str, text: str, default: Any) -> Any:
    """Return ``text`` as a value of the type of ``default``."""
    kind = type(default)
    try:
        if kind is tuple:
            return tuple(float(part) for part in text.split(","))
        return SWITCHES[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = WANTED.get(kind, kind.__name__)
        example = str(default).lower() if kind is not tuple else "-2.1,-2.0,-1.8"
        raise OptionError(f"--set {name}={text}: {name} is {wanted}, such as {example}") from None


def resolve_preprocess(model: Path, spec: str | None, image: TensorSpec, **overrides: Any) -> tuple[Preprocess, str]:
    """Return the preprocessing and where it comes from: the flag, a sidecar, or a guess.

    Raises
    ------
    OptionError
        The specification is not understood or does not fit the model's input.
    """
    from ..imaging import PRESETS, find_sidecar, preprocess_from

    shape = image.shape
    if len(shape) != 4:
        sizes = " x ".join(map(str, shape))
        raise OptionError(f"input {image.name!r} is {sizes}: pictures need N x C x H x W or N x H x W x C")
    sidecar = None if spec is not None else find_sidecar(model)
    if spec is not None:
        found, origin = preprocess_from(spec), spec
    elif sidecar is not None:
        found, origin = preprocess_from(sidecar), sidecar.name
    else:
        guess = _guess(image)
        found, origin = PRESETS[guess], f"{guess}, a guess: pass --preprocess to be sure"
    changes = {k: v for k, v in overrides.items() if v is not None}
    if changes:
        found = dataclasses.replace(found, **changes)
    return found.bound(shape, image.dtype), origin


def _guess(image: TensorSpec) -> str:
    """Return the preset that most models of this kind of input were trained with."""
    if image.dtype.kind != "f":
        return "none"
    return "imagenet" if 3 in image.shape[1:] else "unit"
