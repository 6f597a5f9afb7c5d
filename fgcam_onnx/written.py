"""Write what was found of a picture: an overlay or the raw map of each explanation, and a sheet of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from .imaging import Sampled, Style, drawn, footed, panel, save_npy, save_png
from .imaging.drawing import ground, shades_of
from .imaging.grids import labelled_grid
from .imaging.likeness import told
from .imaging.sampled import moving
from .imaging.writing import save_moving, save_text
from .pictures import Explained, Picture
from .stream import Item, Row
from .text import safe_name, unused

TILE, LARGEST = 224, 640
"""Pixels of a picture on a sheet: at least, and at most."""


@dataclass(frozen=True)
class Writing:
    """The work of explaining a folder: a batch of pictures explained, their maps written, a row for each.

    Attributes
    ----------
    explain : callable
        Returns the `Picture` of each path of a batch.
    folder : Path
    stems : mapping of str to str
        What the files of a picture begin with, by the picture's key.
    style : Style, optional
    notes : sequence of str
        As for `write_picture`.
    """

    explain: Callable[[Sequence[Path]], Iterable[Picture]]
    folder: Path
    stems: Mapping[str, str]
    style: Style | None
    notes: Sequence[str]

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each picture, its maps being written."""
        rows: list[Row] = []
        for item, picture in zip(items, self.explain([i.path for i in items]), strict=True):
            write_picture(picture, self.folder, stem=self.stems[item.key], style=self.style, notes=self.notes)
            rows.append({"item": item.key, **picture.summary()})
        return rows


def write_picture(
    picture: Picture, folder: Path, *, stem: str, style: Style | None = None, notes: Sequence[str] = ()
) -> None:
    """Write a picture's maps into ``folder`` and note the files in its explanations.

    With a ``style`` an overlay (PNG) of each map and, where there are several, a sheet of all that also says how alike
    they are; without one the maps themselves (NPY, float32, signed). ``notes`` are written on every picture.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    if picture.seen is None:
        return
    several = len({e.method for e in picture.explained}) > 1
    taken: set[str] = set()
    for explained in picture.explained:
        for layer, values in explained.maps.items():
            parts = [stem, *([explained.method] if several else []), safe_name(layer), safe_name(explained.name)]
            name = unused(".".join(parts), taken)
            if style is None:
                explained.files.append(str(save_npy(folder / f"{name}.npy", values)))
                continue
            over = drawn(picture.seen, values, style=style, relative=explained.whole(layer), notes=notes)
            explained.files.append(str(save_png(folder / f"{name}.png", over, ours=True)))
            if isinstance(picture.seen, Sampled):
                explained.files.extend(_beside(picture.seen, values, folder / name, style, explained.whole(layer)))
    if style is not None and len(taken) > 1:
        save_png(folder / f"{stem}.sheet.png", sheet(picture, style=style, notes=notes), ours=True)


def _beside(seen: Sampled, values: NDArray[Any], path: Path, style: Style, relative: bool) -> list[str]:
    """Write what says more than a picture: slices that move, or the numbers of a row; return the files."""
    if seen.row and values.ndim == 1:
        pairs = enumerate(zip(seen.values[0].tolist(), values.tolist(), strict=True))
        lines = ["index,value,map", *(f"{i},{v:.9g},{m:.9g}" for i, (v, m) in pairs)]
        return [str(save_text(path.with_name(f"{path.name}.csv"), "\n".join(lines) + "\n"))]
    if len(seen.size) != 3:
        return []
    shades = shades_of(seen, values, style=style, relative=relative)
    slices = moving(seen.overlaid(shades, colormap=style.colormap, alpha=style.alpha))
    return [str(save_moving(path.with_name(f"{path.name}.moving.png"), slices))]


def sheet(picture: Picture, *, style: Style, notes: Sequence[str] = ()) -> Image.Image:
    """Return all maps of a picture: in one row, or of several methods in a column for each, and how alike they are."""
    assert picture.seen is not None
    shown = ground(picture.seen, style)
    tile = min(LARGEST, max(TILE, *shown.size))
    methods = list(dict.fromkeys(e.method for e in picture.explained))

    def cell(explained: Explained, layer: str) -> Image.Image:
        assert picture.seen is not None
        relative = explained.whole(layer)
        return drawn(picture.seen, explained.maps[layer], style=style, relative=relative, tile=tile)

    if len(methods) == 1:
        tiles = [(f"{e.name}, {e.told}, at {layer}", cell(e, layer)) for e in picture.explained for layer in e.maps]
        whole = panel(shown, tiles)
    else:
        names = list(dict.fromkeys(e.name for e in picture.explained))
        sure = {e.name: e.told for e in reversed(picture.explained)}
        columns = list(dict.fromkeys((e.method, layer) for e in picture.explained for layer in e.maps))
        cells: dict[tuple[int, int], Image.Image | str] = {
            (names.index(e.name), columns.index((e.method, layer))): cell(e, layer)
            for e in picture.explained
            for layer in e.maps
        }
        whole = labelled_grid(
            cells, rows=[(name, sure[name]) for name in names], columns=[f"{m} at {layer}" for m, layer in columns],
            corner=shown, title=picture.path.name, tile=tile,
        )  # fmt: skip
    alike = [line for what, found in picture.likeness.items() for line in told(found, what=what)]
    return footed(whole, notes=[legend(style), *alike, *notes])


def legend(style: Style) -> str:
    """Return what the colours of maps mean, in a line."""
    if style.signed:
        return "colours: one end of each scale speaks for what is explained, the other against it; clear: neither"
    return "colours: the further right on a map's scale, the more a place speaks for what is explained; clear: nothing"
