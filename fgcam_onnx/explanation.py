"""Explanation: raw maps and what they explain, that show and keep themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .asked import flag_of, path_of
from .errors import InputError, OptionError
from .maps import Maps
from .ranking import Ranked
from .traced import Traced, traces_kept, traces_read

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from PIL.Image import Image

    from .gallery import Row
    from .imaging import Preprocess

__all__ = ["Explanation", "Ranked", "Traced"]

ARRAYS = ("target", "score", "scores", "probabilities")
PLAIN = ("described", "each", "int8", "relative", "method", "kind", "labels", "names", "notes")
"""Fields that are kept as arrays, and as plain values."""


@dataclass(frozen=True, repr=False)
class Explanation(Maps):
    """Raw maps and what they explain, for N images; shows itself, and keeps itself.

    Numbers: ``maps`` by layer, the only ``map``, ``target``, ``score``, ``scores``, ``probabilities``,
    ``conservation``, ``described``, ``each``, ``trace``, ``relative``, ``empty``, ``fused()``, ``top()``, ``title()``,
    ``summary()``. Pictures: ``seen``, ``placements``, ``names``, ``labels``, ``notes``. `Maps` says what each is.
    """

    def overlay(
        self,
        image: Image | None = None,
        *,
        index: int = 0,
        layer: str | None = None,
        preprocess: Preprocess | None = None,
        bar: bool = False,
        **style: Any,
    ) -> Image:
        """Return a picture with map ``index`` over it, at its place.

        Parameters
        ----------
        image : PIL.Image.Image, optional
            The picture that was prepared and explained, or what the model saw of it (`Preprocess.view`). Default: the
            picture that was given to be explained.
        index : int
            A row of the maps.
        layer : str, optional
            Where there are maps of several.
        preprocess : Preprocess, optional
            How the picture was prepared, bound to the model, where the explained array does not know: what
            a `Preprocess` returns does, what was computed from that does not.
        bar : bool
            Add the colour scale, with the raw map's range, below the picture.
        **style
            ``colormap`` and ``alpha`` of :func:`imaging.overlay`; ``signed``, ``percentile``, ``smooth`` and ``gamma``
            of :func:`imaging.shaded`; of the picture that was given also ``on="model"``.

        Raises
        ------
        LayerError
            No such layer, or several and none was named.
        InputError
            There are fewer images, or where the map lies in ``image`` is not known, or an array was explained.
        OptionError
            No such style.
        """
        from .gallery import placed
        from .imaging import Style, footed, overlay
        from .imaging.overlay import laid

        if image is not None and not hasattr(image, "getbands"):
            raise InputError(f"a picture of Pillow's is wanted, not {image!r:.60}")
        flag_of(bar, "bar")
        name, row, drawn = self._layer(layer), self._row(index), Style.of(style)
        seen = self.seen[row // self.each] if self.seen else None
        if image is None:
            if seen is None:
                raise InputError("an array was explained, not a picture: give the picture, overlay(image)")
            image, placement = seen.shown(drawn)
        else:
            known = self.placements[row // self.each] if self.placements else None
            placement = placed(image.size, known=known, preprocess=preprocess)
        shades = self._gallery_row(row, {name}, view=placement.view).shades(name, drawn)
        how: dict[str, Any] = {"placement": placement, "colormap": drawn.colormap, "alpha": drawn.alpha}
        if not bar:
            return overlay(image, shades, **how)
        told = (*shades.notes, *self.notes)
        return footed(laid(image, shades, **how), scale=shades, colormap=drawn.colormap, notes=told)

    def heatmap(self, *, index: int = 0, layer: str | None = None, **style: Any) -> Image:
        """Return a map alone, over what the model saw, with its colour bar and the raw map's range below.

        Parameters
        ----------
        index, layer, **style
            As for `overlay`; ``bar=False`` leaves the colour bar out.

        Raises
        ------
        LayerError, InputError, OptionError
            As for `overlay`.
        """
        from .gallery import alone
        from .imaging import Style

        name, row = self._layer(layer), self._row(index)
        return alone(self._gallery_row(row, {name}), name, Style.of({"on": "model", **style}))

    def sheet(self, *, title: str = "", tile: int = 224, **style: Any) -> Image:
        """Return all maps on one sheet: a row for each picture and target, a column for each layer.

        Parameters
        ----------
        title : str
        tile : int
            Side of an overlay in pixels, 64..1024.
        **style
            Fields of `imaging.Style`.

        Raises
        ------
        OptionError
            No such style, or a sheet too large to make.
        """
        from .gallery import sheet
        from .imaging import Style

        how: dict[str, Any] = {"columns": list(self.maps), "style": Style.of(style), "notes": self.notes}
        return sheet(self.gallery(), title=title, tile=tile, **how)

    def figure(self, **style: Any) -> Figure:
        """Return all maps as a figure of matplotlib's: axes and a colour bar for each, to be changed and saved.

        Parameters
        ----------
        **style
            Fields of `imaging.Style`.

        Raises
        ------
        OptionError
            No such style.
        """
        from .gallery import drawn_figure
        from .imaging import Style

        return drawn_figure(self.gallery(), columns=list(self.maps), style=Style.of(style), notes=self.notes)

    def to_dataframe(self) -> DataFrame:
        """Return a row for each map: picture, class, score, probability, layer, range, sum and conservation.

        Raises
        ------
        OptionError
            pandas is not there.
        """
        try:
            import pandas
        except ImportError as error:
            raise OptionError(f"a data frame needs pandas ({error}): pip install pandas") from error
        return pandas.DataFrame([self._told(r, n) for r in range(len(self._whole)) for n in self.maps])

    def _told(self, row: int, layer: str) -> dict[str, Any]:
        at, values = self._answer(row), self.maps[layer][row]
        target, kept = int(self.target[at]), self.conservation.get(layer)
        return {
            "picture": self._name(row),
            "target": target,
            "label": self.title(at),
            "score": float(self.score[at]),
            "probability": np.nan if (sure := self._sure(at)) is None else sure,
            "layer": layer,
            "least": float(values.min()),
            "most": float(values.max()),
            "sum": float(values.sum(dtype=np.float64)),
            "conservation": np.nan if kept is None else float(kept[at]),
            "empty": self.empty[layer][row],
        }

    def gallery(self) -> list[Row]:
        """Return a row for each picture and target, its maps by layer."""
        return [self._gallery_row(row, set(self.maps)) for row in range(len(self._whole))]

    def _gallery_row(self, row: int, layers: set[str], *, view: tuple[int, int] | None = None) -> Row:
        from .gallery import Row

        at, image = self._answer(row), row // self.each
        place = self.placements[image].view if self.placements else None
        sure = self._sure(at)
        told = f"score {self.score[at]:.4g}" if sure is None else f"probability {sure:.3f}"
        several = len(self._whole) > 1 or bool(self.names)
        maps = {n: m[row] for n, m in self.maps.items() if n in layers}
        return Row(
            self.title(at),
            f"{told}, {self._name(row)}" if several else told,
            maps,
            None if view is not None or not self.seen else self.seen[image],
            view or place,
            frozenset(maps) if self._whole[row] else frozenset(),
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write everything into a folder: ``<layer>.npy`` for each layer, pictures, numbers, ``explanation.json``.

        `load` reads it again without loss. Returns the paths, the maps' first, ``explanation.json`` last.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        from .gallery import write

        arrays = {n: getattr(self, n) for n in ARRAYS if getattr(self, n) is not None}
        kept = {f"conservation/{i}": self.conservation[n] for i, n in enumerate(self.conservation)}
        told = {
            **self.summary(),
            "kept": {n: getattr(self, n) for n in PLAIN} | {"conservation": list(self.conservation)},
            "places": [[p.picture, p.view, p.box] for p in self.placements],
            "traced": [[t.op, t.node] for t in self.trace],
        }
        beside = arrays | kept | traces_kept(self.trace)
        return write(Path(path_of(folder, "folder")), self.maps, told=told, beside=beside, seen=self.seen)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the explanation that `save` wrote into ``folder``; nothing in it is executed.

        Raises
        ------
        InputError
            It holds none, or a damaged one.
        """
        from .gallery import read
        from .imaging import Placement

        where = Path(path_of(folder, "folder"))
        maps, told, beside, seen = read(where)
        try:
            kept = told["kept"]
            given: dict[str, Any] = {n: tuple(v) if isinstance(v := kept[n], list) else v for n in PLAIN}
            arrays: dict[str, Any] = {n: beside.get(n) for n in ARRAYS}
            sums = {str(n): beside[f"conservation/{i}"] for i, n in enumerate(kept["conservation"])}
            places = tuple(Placement(tuple(p), tuple(v), tuple(b)) for p, v, b in told["places"])
            trace = traces_read(told["traced"], beside)
            return cls(maps=maps, conservation=sums, placements=places, trace=trace, seen=seen, **arrays, **given)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: no explanation that save() wrote, or a damaged one ({error!r})") from error

    def _repr_html_(self) -> str:
        from .gallery import fragment
        from .imaging import Style

        count = len(self._whole) * len(self.maps)
        title = f"{self.method}{': ' if self.method else ''}{count} map{'s' * (count != 1)}"
        return fragment(self.gallery(), columns=list(self.maps), style=Style(), title=title, about=self.notes)
