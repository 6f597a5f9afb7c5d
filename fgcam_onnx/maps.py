"""Maps: raw numbers and what they explain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import Arithmetic
from .asked import for_axes, size_of, whole
from .cam.fusion import fuse
from .emptiness import emptiness
from .errors import InputError, LayerError, TargetError
from .ranking import Ranked, ranked
from .traced import Traced

if TYPE_CHECKING:
    from .imaging import Placement, Seen


@dataclass(frozen=True, repr=False)
class Maps:
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
    method, kind : str
        How it was explained, and what the output is (`heads.KINDS`).
    labels : tuple of str
        Class names by index; empty where none are known.
    probabilities : ndarray of shape (N, K), float32, optional
        Of classes: what the model's end makes of ``scores``.
    seen : tuple of N Seen
        The pictures, what the model saw of them, and where that lies; empty where arrays were explained.
    names : tuple of N str
        What the pictures are called.
    notes : tuple of str
        What is to be known of all maps, such as that the preprocessing was a guess.
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
    method: str = ""
    kind: str = ""
    labels: tuple[str, ...] = ()
    probabilities: NDArray[np.float32] | None = None
    seen: tuple[Seen, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say what was explained, not the numbers."""
        maps = ", ".join(f"{n} ({' x '.join(map(str, m.shape[1:]))})" for n, m in self.maps.items())
        whats = tuple(self.title(row) for row in range(min(4, len(self.target))))
        more = f" and {len(self.target) - 4} more" if len(self.target) > 4 else ""
        return f"<{type(self).__name__} of {len(self.target)} rows: {', '.join(whats)}{more}; maps {maps}>"

    def title(self, answer: int) -> str:
        """Return what was explained in a row: the class's first name, or the target's description."""
        answer = _place(answer, len(self.target), "answer")
        if self.described:
            return self.described[answer]
        target = int(self.target[answer])
        label = self.labels[target].split(",")[0].strip() if 0 <= target < len(self.labels) else ""
        return label or ("the output" if self.kind == "number" else str(target))

    def top(self, count: int = 5, *, index: int = 0) -> tuple[Ranked, ...]:
        """Return the classes with the highest scores, with names and probabilities.

        Parameters
        ----------
        count : int
            How many, 1 at least; of fewer classes all.
        index : int
            A row of the maps.

        Raises
        ------
        TargetError
            The output is no scores of classes.
        InputError
            There are fewer rows.
        """
        if self.kind not in ("", "classes"):
            raise TargetError(f"the output is no scores of classes but {self.kind}; see .title({index}) and .score")
        at = self._answer(self._row(index))
        sure = None if self.probabilities is None else self.probabilities[at]
        return ranked(self.scores[at], sure, labels=self.labels, count=count)

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

    def _sure(self, answer: int) -> float | None:
        """Return the probability of an answer's class, where it has one."""
        target = int(self.target[answer])
        return None if self.probabilities is None or target < 0 else float(self.probabilities[answer, target])

    def _row(self, index: int) -> int:
        return _place(index, len(self._whole), "image")

    def _answer(self, row: int) -> int:
        """Return the answer that a row of the maps belongs to; a bag's images share one."""
        return row * len(self.target) // max(len(self._whole), 1)

    def _name(self, row: int) -> str:
        image = row // self.each
        return self.names[image] if image < len(self.names) else f"image {image}"

    def _layer(self, name: str | None) -> str:
        if name is None:
            return next(n for n, m in self.maps.items() if m is self.map)
        if not isinstance(name, str) or name not in self.maps:
            raise LayerError(f"there is no map of {name!r:.60}, only of {', '.join(self.maps)}")
        return name

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


def raised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map with its least value at 0."""
    return np.asarray(values - values.min(), np.float32)


def _place(index: Any, count: int, what: str) -> int:
    """Return an index, counted from the end where it is below 0, from the beginning."""
    found = whole(index)
    if found is None or not -count <= found < count:
        raise InputError(f"there is no {what} {index!r:.60}: {count} {what}s were explained")
    return found % count
