"""Turn the strings of the command line into values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..errors import OptionError


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``HEIGHTxWIDTH``, as many sides as there are axes, or one number for all."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the sides."""
        if isinstance(value, tuple):
            return value
        try:
            sides = [int(s) for s in str(value).lower().split("x")]
        except ValueError:
            sides = []
        if not sides or min(sides) < 1:
            self.fail(f"{value!r} is not a size such as 224 or 192x256", param, ctx)
        return tuple(sides)


class Numbers(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Comma-separated numbers, one for all channels or one for each."""

    name = "N[,N,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers."""
        try:
            return value if isinstance(value, tuple) else tuple(float(v) for v in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.485,0.456,0.406", param, ctx)


SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""What a setting that is either on or off can be given as."""


WANTED = {int: "a whole number", float: "a number", bool: "true or false", tuple: "one number or several"}


def settings_by_method(pairs: Sequence[str], *, methods: Sequence[str], base: str | None) -> dict[str, dict[str, Any]]:
    """Return for each method the settings given as ``NAME=VALUE`` that it has.

    Raises
    ------
    OptionError
        As for :func:`parse_settings`; none of the methods has a setting.
    """
    from ..methods import settings_of

    base = base or ""
    if len(methods) == 1:
        return {methods[0]: parse_settings(pairs, method=methods[0], base=base)}
    names = [pair.partition("=")[0].strip() for pair in pairs]
    texts = dict(pair.partition("=")[::2] for pair in pairs)
    known = {m: settings_of(m, base=base, given=texts).keys() for m in methods}
    for pair, name in zip(pairs, names, strict=True):
        if not any(name in each for each in known.values()):
            parse_settings([pair], method=methods[0], base=base)
    own = {m: [pair for pair, name in zip(pairs, names, strict=True) if name in known[m]] for m in methods}
    return {m: parse_settings(own[m], method=m, base=base) for m in methods}


def parse_settings(pairs: Sequence[str], *, method: str, base: str) -> dict[str, Any]:
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
    known = settings_of(method, base=base, given=texts)
    found = {n: _setting(n, text, known[n]) if n in known else text for n, text in texts.items()}
    fitted_settings(method, found, base=base)
    return found


def _setting(name: str, text: str, default: Any) -> Any:
    """Return ``text`` as a value of the type of ``default``."""
    from ..methods import WIDER

    kind = type(default)
    if name in WIDER:
        return _number_or_text(text)
    try:
        if kind is tuple:
            return tuple(float(part) for part in text.split(","))
        return SWITCHES[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = WANTED.get(kind, kind.__name__)
        example = str(default).lower() if kind is not tuple else "-2.1,-2.0,-1.8"
        raise OptionError(f"--set {name}={text}: {name} is {wanted}, such as {example}") from None


def _number_or_text(text: str) -> int | float | str:
    """Return a whole number, a number, or the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
