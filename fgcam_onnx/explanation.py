"""Explanation: raw maps and what they explain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import Arithmetic
from .asked import for_axes, path_of, size_of
from .cam.fusion import fuse
from .emptiness import emptiness
from .errors import InputError, LayerError
from .text import file_names

if TYPE_CHECKING:
    from PIL.Image import Image

    from .imaging import Placement, Preprocess

__all__ = ["Explanation", "Traced"]

NEGLIGIBLE = 1e-3
"""Components whose sum is less than this share of their magnitude have no meaningful conservation."""

TILE, MOST_SHOWN = 224, 4
"""Width of a map in a notebook, in pixels, and how many rows are shown of a batch."""


@dataclass(frozen=True)
class Traced:
    """What one operator of the walk back did to the relevance of N images.

    Attributes
    ----------
    op, node : str
        The operator's type and the node's name.
    arriving, leaving : ndarray of shape (N,)
        Sums of the relevance that reached it and that it handed on.
    """

    op: str
    node: str
    arriving: NDArray[np.float32]
    leaving: NDArray[np.float32]

    def summary(self, index: int) -> dict[str, Any]:
        """Return what it did to image ``index`` as plain values."""
        return {
            "op": self.op,
            "node": self.node,
            "arriving": float(self.arriving[index]),
            "leaving": float(self.leaving[index]),
        }


@dataclass(frozen=True, repr=False)
class Explanation:
    """Raw maps and what they explain, for N images.

    Where a model gives one answer for a whole bag of images, maps has a row for each image, everything else one row.

    Attributes
    ----------
    maps : dict of str to ndarray of shape (N, h, w), float32
        Signed map per layer, by the name that was asked for; of signals (N, l), of volumes (N, d, h, w).
    target : ndarray of shape (N,), int64
        The class explained; -1 where it is no class.
    score : ndarray of shape (N,), float32
        Its logit, or the number that was explained.
    scores : ndarray of shape (N, K), float32
        All logits.
    conservation : dict of str to ndarray of shape (N,)
        Sum of the map over sum of the components it was refined from, or of the relevance it started from; for
        integratedgradients over what the score differs by from the baseline's, for fullgrad that of input and
        biases over the score. NaN where that is (nearly) nothing, as for denoised components. Empty for methods
        that promise no such sum.
    described : tuple of N str
        What was explained, for people, where it is no class; else empty.
    each : int
        How many rows belong to one image, where several classes of each were asked for: those of image i start
        at ``i * each``.
    trace : tuple of Traced
        Every operator of the walk from the score to the layers, in its order; empty unless it was asked for.
    placements : tuple of N Placement
        Where what the model saw lies in the picture that it was made of, for each image; where that is not known, the
        whole of what the model saw. Empty for inputs that are no pictures.
    int8 : {"exact", "saturating"}, optional
        How sums of integer products were computed; None where the model has none. ``saturating`` is what x86
        processors without VNNI do to uint8 times int8, unless ``Explainer(int8="exact")`` was asked for.
    relative : tuple of N bool
        Whether 0 means nothing in the map, which is then shown from its least value to its largest, as the authors of
        Recipro-CAM and of contrasts do; empty where none is.
    """

    maps: dict[str, NDArray[np.float32]]
    target: NDArray[np.int64]
    score: NDArray[np.float32]
    scores: NDArray[np.float32]
    conservation: dict[str, NDArray[np.float64]]
    described: tuple[str, ...] = ()
    each: int = 1
    trace: tuple[Traced, ...] = ()
    placements: tuple[Placement, ...] = ()
    int8: Arithmetic | None = None
    relative: tuple[bool, ...] = ()

    def __repr__(self) -> str:
        """Say what was explained, not the numbers."""
        maps = ", ".join(f"{n} ({' x '.join(map(str, m.shape[1:]))})" for n, m in self.maps.items())
        whats = self.described or tuple(map(str, self.target.tolist()))
        more = f" and {len(whats) - 4} more" if len(whats) > 4 else ""
        return f"<Explanation of {len(self.target)} rows: {', '.join(whats[:4])}{more}; maps {maps}>"

    @property
    def map(self) -> NDArray[np.float32]:
        """The only map, of shape (N, h, w), or of as many axes as the input has.

        Raises
        ------
        LayerError
            When several layers were asked for.
        """
        if len(self.maps) != 1:
            raise LayerError(f"there are maps of {len(self.maps)} layers; choose from .maps: {', '.join(self.maps)}")
        return next(iter(self.maps.values()))

    @property
    def empty(self) -> dict[str, tuple[str, ...]]:
        """What is to be said of each layer's maps, image by image, that show nothing; "" of those that do.

        ``zero everywhere``, or ``nothing positive``: an overlay shows positive values, unless it is signed. Of
        ``relative`` maps, which are shown whole, ``the same everywhere``.
        """
        return {
            name: tuple(emptiness(m, relative=w) for m, w in zip(maps, self._whole, strict=True))
            for name, maps in self.maps.items()
        }

    @property
    def _whole(self) -> tuple[bool, ...]:
        """Whether each row of the maps is relative; a bag's images share their answer's."""
        rows = len(next(iter(self.maps.values()), ()))
        given = self.relative or (False,)
        return tuple(given[row * len(given) // rows] for row in range(rows))

    def fused(self, how: str = "mean", *, size: tuple[int, ...] | None = None) -> NDArray[np.float32]:
        """Return one map of all layers, of shape (N, *size), values in [0, 1].

        Each map's positive part is scaled to [0, 1] for each image and resized bilinearly; their mean, maximum
        or product is scaled to [0, 1] again. The mean is what pytorch-grad-cam gives for several layers.

        Parameters
        ----------
        how : {"mean", "max", "product"}
        size : tuple of int, optional
            Such as height and width of the input; default those of the largest map.

        Raises
        ------
        OptionError
            No such fusion, or a size that is not positive.
        """
        size = size_of(size, "size")
        largest = max((m.shape[1:] for m in self.maps.values()), key=math.prod)
        maps = [
            np.stack([raised(v) if w else v for v, w in zip(m, self._whole, strict=True)]) for m in self.maps.values()
        ]
        wide = largest if size is None else for_axes(size, len(largest), "size")
        return np.asarray(fuse(maps, how, size=wide), np.float32)

    def overlay(
        self,
        image: Image,
        *,
        index: int = 0,
        layer: str | None = None,
        preprocess: Preprocess | None = None,
        bar: bool = False,
        **style: Any,
    ) -> Image:
        """Return ``image`` with map ``index`` over it, at its place.

        Parameters
        ----------
        image : PIL.Image.Image
            The picture that was prepared and explained, or what the model saw of it (`Preprocess.view`).
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
            of :func:`imaging.shaded`.

        Raises
        ------
        LayerError
            No such layer, or several and none was named.
        InputError
            There are fewer images, or where the map lies in ``image`` is not known.
        """
        from .imaging import footed, overlay, shaded
        from .imaging.overlay import laid

        if not hasattr(image, "size") or not hasattr(index, "__index__"):
            raise InputError(f"a picture and the index of a map are wanted, not {image!r:.60} and {index!r:.60}")
        if layer is not None and layer not in self.maps:
            raise LayerError(f"there is no map of {layer!r}, only of {', '.join(self.maps)}")
        values = self.map if layer is None else self.maps[layer]
        if not -len(values) <= index < len(values):
            raise InputError(f"there is no image {index}: {len(values)} images were explained")
        placement = self._placement(image.size, index % len(values), preprocess)
        drawn = {n: style.pop(n) for n in ("colormap", "alpha") if n in style}
        shades = shaded(values[index], view=placement.view, relative=self._whole[index % len(values)], **style)
        if not bar:
            return overlay(image, shades, placement=placement, **drawn)
        over = laid(image, shades, placement=placement, **drawn)
        return footed(over, scale=shades, colormap=drawn.get("colormap"), notes=shades.notes)

    def _placement(self, size: tuple[int, int], row: int, preprocess: Preprocess | None) -> Placement:
        from .imaging import Placement

        known = self.placements[row // self.each] if self.placements else None
        if preprocess is not None:
            placement = preprocess.placement(size)
            if known is not None and known.view != placement.view:
                raise InputError(f"preprocess makes {_by(placement.view)} pixels, the model saw {_by(known.view)}")
            return placement
        given = (size[1], size[0])
        if known is not None and given == known.picture:
            return known
        if known is not None and given == known.view:
            return Placement.whole(given)
        if known is not None and known.picture != known.view:
            raise InputError(f"a picture of {_by(known.picture)} was explained, this one is {_by(given)}")
        saw = f"the model saw {_by(known.view)} pixels" if known else "the input was no picture"
        raise InputError(
            f"where the map lies in a picture of {_by(given)} is not known: {saw}. Pass preprocess=, as the picture "
            "was prepared, or the part that the model saw (preprocess.view(picture))"
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``<layer>.npy`` for each layer and ``explanation.json``; returns the paths."""
        from .imaging import save_json, save_npy

        folder = Path(path_of(folder, "folder"))
        names = file_names(self.maps)
        paths = [save_npy(folder / f"{names[n]}.npy", m) for n, m in self.maps.items()]
        return [*paths, save_json(folder / "explanation.json", self.summary())]

    def summary(self) -> dict[str, Any]:
        """Return target, score, conservation, integer arithmetic and which maps show nothing as plain Python values."""
        empty = {name: said for name, said in self.empty.items() if any(said)}
        return {
            **({"int8": self.int8} if self.int8 else {}),
            "target": self.target.tolist(),
            **({"described": list(self.described)} if self.described else {}),
            "score": [round(float(s), 6) for s in self.score],
            **({"empty": {n: list(said) for n, said in empty.items()}} if empty else {}),
            "conservation": {
                n: [None if np.isnan(v) else round(float(v), 6) for v in c] for n, c in self.conservation.items()
            },
        }

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        from .imaging import Sampled, coloured, contact_sheet, footed, shaded

        rows = len(self.target)
        tiles = []
        for row in range(min(rows, MOST_SHOWN)):
            view = self.placements[row // self.each].view if self.placements else None
            for name, maps in self.maps.items():
                if maps[row].ndim == 2:
                    shades = shaded(maps[row], view=view, relative=self._whole[row])
                    picture = coloured(shades)
                else:
                    seen = Sampled(np.zeros((1, *maps[row].shape)))
                    shades = seen.shaded(maps[row], relative=self._whole[row])
                    picture = seen.under(shades)
                share = TILE / picture.width
                picture = picture.resize((TILE, max(1, round(picture.height * share))))
                tiles.append(
                    (
                        f"{name}, {row + 1} of {rows}" if rows > 1 else name,
                        footed(picture, scale=shades, notes=shades.notes),
                    )
                )
        buffer = BytesIO()
        contact_sheet(tiles, columns=len(self.maps), tile=max(max(t.size) for _, t in tiles)).save(buffer, "PNG")
        return buffer.getvalue()


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def raised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map with its least value at 0."""
    return np.asarray(values - values.min(), np.float32)


def conservation_of(found: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return what came out over what went in, per layer and answer; NaN where nearly nothing went in."""
    if "total" not in found:
        return {}
    answers = len(found["scores"])

    def each(name: str) -> NDArray[np.float64]:
        return np.asarray(found[name].reshape(answers, -1).sum(1, dtype=np.float64))

    total, magnitude = each("total"), each("magnitude")
    meaningful = np.abs(total) > NEGLIGIBLE * magnitude
    safe = np.where(meaningful, total, 1)
    return {n: np.where(meaningful, each(f"sum/{i}") / safe, np.nan) for i, n in enumerate(layers)}


def trace_of(found: Mapping[str, NDArray[Any]]) -> tuple[Traced, ...]:
    """Return the trace among a program's outputs."""
    parts = [(n.split("/", 3), a) for n, a in found.items() if n.startswith("trace/")]
    parts.sort(key=lambda part: int(part[0][1]))
    return tuple(Traced(op, node, a[:, 0], a[:, 1]) for (_, _, op, node), a in parts)
