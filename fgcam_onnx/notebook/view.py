"""What a viewer shows, whatever shows it: maps of one picture by method, layer and target, computed when asked for."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError, OptionError, check_known
from ..explanation import Explanation
from ..gallery import scale_of
from ..graph import model as graph
from ..hand.explainer import Explainer
from ..hand.intake import Picture
from ..hand.model import load
from ..imaging import Seen, Shades, Style, shaded
from ..imaging.overlay import colors_of
from ..methods import find_method
from ..sweep import USUAL, stage_names

LARGEST, MOST = 512, 200
"""Pixels of the picture's longer side, and how many classes can be chosen from a list."""
UNASKED = "what is explained unasked"


@dataclass(frozen=True)
class Shown:
    """A map as a viewer shows it.

    Attributes
    ----------
    heat : str
        Its colours, clear where the map is near 0, as an address that holds a PNG of the picture's size.
    told : str
        What was explained, and how sure the model is.
    scale : dict of str to str
        The colours of the scale and what its ends stand for; empty where there is nothing to show.
    note : str
        What to say where there is nothing to show.
    """

    heat: str
    told: str
    scale: dict[str, str]
    note: str


class View:
    """Maps of one picture, computed when they are asked for and kept.

    Parameters
    ----------
    model : Model, ModelProto or path
    picture : picture
        As an :class:`fgcam_onnx.Explainer` takes it; one.
    methods : sequence of str
    layers : sequence of str, optional
        Default: the input, and the best layer of each resolution.
    **options
        Of an :class:`fgcam_onnx.Explainer`.

    Raises
    ------
    FgcamError
        The model, the picture or an option does not fit.
    """

    def __init__(
        self,
        model: graph.Model | str | Path,
        picture: Picture,
        *,
        methods: Sequence[str] = USUAL,
        layers: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        self._model = model if isinstance(model, graph.Model) else load(model)
        for method in methods:
            find_method(method)
        self.methods, self._options = tuple(methods), options
        if not self.methods:
            raise OptionError("a viewer needs a method at least")
        self._kept: dict[tuple[str, str, str], Explanation] = {}
        first = Explainer(self._model, method="saliency", **options)
        taken = first.intake.taken(picture, first)
        if len(taken.seen) != 1:
            raise InputError(f"a viewer is of one picture, not of {len(taken.seen) or 'arrays'}")
        self._x, self.seen, self.notes = taken.x, taken.seen[0], first.intake.notes
        built = first.options(first.feeds(taken.x)[first.input].shape[1:] if first.sizes_are_free else ())[0]
        where: dict[str, Any] = {"logits": built.score.logits, "source": built.input}
        self.layers = tuple(layers) if layers is not None else stage_names(built.model, **where)
        self.targets = _targets(first, first.predict(taken.x)[0])

    @property
    def picture(self) -> str:
        """The picture, as an address that holds it."""
        return _address(self.seen.shown(Style(), largest=LARGEST)[0], form="JPEG")

    def layers_of(self, method: str) -> tuple[str, ...]:
        """Return the layers that a method has its maps at: of one that has none at the input, the others."""
        check_known("method", method, self.methods)
        return self.layers if find_method(method).at == "input" else tuple(n for n in self.layers if n != "input")

    def shown(self, *, method: str, layer: str, target: str = "", signed: bool = False) -> Shown:
        """Return a map; ``target`` as the command line writes it, empty for what is explained unasked.

        Raises
        ------
        FgcamError
            The method has no map there, or the target does not fit.
        """
        check_known("method", method, self.methods)
        key = method, layer, target
        if key not in self._kept:
            explainer = Explainer(self._model, method=method, layers=[layer], **self._options)
            self._kept[key] = explainer(self._x, target=target or None)
        found, style = self._kept[key], Style(signed=signed)
        picture, placement = self.seen.shown(style, largest=LARGEST)
        relative = bool(found.relative) and found.relative[0]
        shades = shaded(found.map[0], view=placement.view, signed=signed, relative=relative)
        heat = _heat(shades, Seen(picture, picture, placement))
        row = found.gallery()[0]
        return Shown(heat, f"{row.title}, {row.told}", scale_of(shades, style), shades.note)


def _targets(explainer: Explainer, scores: Any) -> list[tuple[str, str]]:
    """Return what can be chosen from a list: the text of each target, and how it is shown."""
    if explainer.head.kind != "classes":
        return [("", UNASKED)]
    order = np.argsort(-scores.reshape(-1), kind="stable")[:MOST]
    sure = explainer.head.probabilities(scores[None])
    names = explainer.labels
    found = []
    for i in order:
        name = names[i].split(",")[0] if i < len(names) and names[i] else f"class {i}"
        found.append((str(int(i)), name if sure is None else f"{name}, {sure[0].reshape(-1)[i]:.3f}"))
    return found


def _heat(shades: Shades, seen: Seen) -> str:
    """Return a map's colours over the whole picture, clear where it is near 0."""
    shares = seen.placement.widened(shades.shares)
    colours = colors_of(None, signed=shades.signed)[shades.steps(shares)]
    clear = np.minimum(1, 1.25 * np.sqrt(shades.strength(shares)))
    pixels = np.dstack([colours, np.rint(255 * clear).astype(np.uint8)])
    return _address(Image.fromarray(pixels, "RGBA"), form="PNG")


def _address(image: Image.Image, *, form: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
