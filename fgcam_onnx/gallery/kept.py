"""Arrays, plain values and pictures in a folder, and out of it again as they were; nothing in it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError
from ..files import opened
from ..imaging import Placement, Seen, read_image, save_json, save_npy, save_png, write_atomically
from ..imaging.arrays import read_arrays
from ..text import file_names

TOLD, BESIDE, PICTURES = "explanation.json", "explanation.npz", "pictures"
MOST_BYTES = 2**28


def write(
    folder: Path,
    maps: Mapping[str, NDArray[Any]],
    *,
    told: Mapping[str, Any],
    beside: Mapping[str, NDArray[Any]],
    seen: Sequence[Seen],
) -> list[Path]:
    """Write each map as ``.npy``, what is ``beside`` as one ``.npz``, pictures as PNG, and ``told`` as JSON, last.

    Returns
    -------
    list of Path
        The maps in order, and then the others.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    names = file_names(maps)
    paths = [save_npy(folder / f"{names[n]}.npy", m) for n, m in maps.items()]
    if beside:
        paths.append(write_atomically(folder / BESIDE, lambda file: np.savez(file, **beside)))  # type: ignore[arg-type]
    kept = []
    for i, one in enumerate(seen):
        parts = {"picture": one.picture} if one.view is one.picture else {"picture": one.picture, "view": one.view}
        for part, image in parts.items():
            paths.append(save_png(folder / PICTURES / f"{i}.{part}.png", image))
        place = one.placement
        kept.append({"parts": list(parts), "placement": [place.picture, place.view, place.box]})
    files = {n: f"{names[n]}.npy" for n in maps}
    return [*paths, save_json(folder / TOLD, {**told, "files": files, "seen": kept})]


def read(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, NDArray[Any]], tuple[Seen, ...]]:
    """Return the maps, what was told, what is beside, and the pictures that `write` wrote.

    Raises
    ------
    InputError
        The folder holds nothing of the kind, or something of it is missing or damaged.
    """
    path = folder / TOLD
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: above {MOST_BYTES // 2**20} MB")
        with opened(path) as file:
            told = json.load(file)
        maps = {str(n): read_arrays(_inside(folder, file))[""] for n, file in told["files"].items()}
        seen = tuple(_seen(folder, i, one) for i, one in enumerate(told["seen"]))
        beside = read_arrays(folder / BESIDE)
    except OSError as error:
        raise InputError(f"{folder}: no explanation that save() wrote ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ImageError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{folder}: no explanation that save() wrote, or a damaged one ({said})") from error
    return maps, told, beside, seen


def _inside(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} leads out of the folder")
    return folder / name


def _seen(folder: Path, index: int, told: Mapping[str, Any]) -> Seen:
    parts = {p: read_image(folder / PICTURES / f"{index}.{p}.png") for p in ("picture", "view") if p in told["parts"]}
    picture, view, box = told["placement"]
    x0, y0, x1, y1 = map(float, box)
    placement = Placement((int(picture[0]), int(picture[1])), (int(view[0]), int(view[1])), (x0, y0, x1, y1))
    return Seen(parts["picture"], parts.get("view", parts["picture"]), placement)
