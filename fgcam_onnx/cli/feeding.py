"""Turn ``--feed NAME=VALUE`` into what the further inputs of a model take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OptionError, suggest

if TYPE_CHECKING:
    from ..graph.model import Model, TensorSpec

FEED = click.option(
    "--feed", "feeds", multiple=True, metavar="NAME=FILE|NUMBER",
    help="What a further input takes beside every picture: an array (.npy, .npz), a picture, or a number for all of "
    "it; repeatable.",
)  # fmt: skip

NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


def split_feeds(pairs: Sequence[str]) -> dict[str, str]:
    """Return the texts given as ``NAME=VALUE``.

    Raises
    ------
    OptionError
        Not of that form, or a name is given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not (name and equals and text):
            raise OptionError(f"--feed {pair!r}: write NAME=FILE or NAME=NUMBER, such as right=other.png")
        if name in found:
            raise OptionError(f"--feed {name} is given twice")
        found[name] = text
    return found


def files_of(pairs: Sequence[str]) -> list[Path]:
    """Return the files that feeds name."""
    return [Path(text) for text in split_feeds(pairs).values() if not re.fullmatch(NUMBER, text)]


def read_feeds(
    pairs: Sequence[str], *, model: Model, image: TensorSpec, spec: str | None, **overrides: Any
) -> dict[str, NDArray[Any]]:
    """Return what further inputs take, by name; pictures are prepared as ``spec`` and ``overrides`` say.

    Raises
    ------
    InputError
        No such input, it is that of the pictures, or its size is open.
    FgcamError
        A file cannot be read.
    """
    specs = {i.name: i for i in model.inputs}
    found: dict[str, NDArray[Any]] = {}
    for name, text in split_feeds(pairs).items():
        if name == image.name:
            raise InputError(f"--feed {name}: the pictures are that input; --input says which they are")
        if name not in specs:
            raise InputError(f"--feed {name}: the model has {', '.join(specs)}.{suggest(name, specs)}")
        if re.fullmatch(NUMBER, text):
            found[name] = _filled(float(text), specs[name])
        else:
            found[name] = _read(Path(text), model, specs[name], spec, overrides)
    return found


def check_fed(names: Sequence[str], *, model: Model, image: TensorSpec) -> None:
    """Refuse a model with inputs of which nothing is known.

    Raises
    ------
    InputError
        Names them, and what they take.
    """
    lacking = [f"{i.name} {list(i.shape)}" for i in model.inputs if i.name != image.name and i.name not in names]
    if lacking:
        raise InputError(f"the model also reads {', '.join(lacking)}: say what with --feed NAME=FILE|NUMBER")


def _filled(number: float, spec: TensorSpec) -> NDArray[Any]:
    open_sizes = [d for d in spec.shape[1:] if not isinstance(d, int)]
    if open_sizes:
        raise InputError(f"--feed {spec.name}={number:g}: the sizes of {list(spec.shape)} are open; give an array")
    if spec.dtype.kind in "iub" and number != int(number):
        raise InputError(f"--feed {spec.name}={number:g}: the input takes whole numbers ({spec.dtype})")
    return np.full([d if isinstance(d, int) else 1 for d in spec.shape], number).astype(spec.dtype)


def _read(path: Path, model: Model, spec: TensorSpec, preset: str | None, overrides: dict[str, Any]) -> NDArray[Any]:
    from ..imaging import read_image
    from ..imaging.arrays import is_array, read_arrays
    from ..preparing import prepare

    if is_array(path):
        arrays = read_arrays(path)
        if len(arrays) > 1 and spec.name not in arrays:
            raise InputError(f"{path}: holds {', '.join(arrays)}, none of them called {spec.name!r}")
        return arrays[spec.name] if len(arrays) > 1 else next(iter(arrays.values()))
    return np.asarray(prepare(model, preset, image=spec, **overrides).preprocess(read_image(path)))
