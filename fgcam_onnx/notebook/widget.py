"""The viewer as a widget, for Jupyter, VS Code and marimo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..errors import FgcamError
from .view import View

HERE = Path(__file__).parent


class Viewer(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """A picture with a map over it; what is chosen is computed here, and drawn there."""

    _esm = HERE / "viewer.js"
    _css = HERE / "viewer.css"

    picture = traitlets.Unicode().tag(sync=True)
    methods = traitlets.List(traitlets.Unicode()).tag(sync=True)
    layers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    targets = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    notes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    target = traitlets.Unicode().tag(sync=True)
    signed = traitlets.Bool(False).tag(sync=True)
    opacity = traitlets.Float(0.7, min=0.0, max=1.0).tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)

    def __init__(self, view: View) -> None:
        method = view.methods[0]
        super().__init__(
            picture=view.picture, methods=list(view.methods), layers=list(view.layers_of(method)),
            targets=[list(pair) for pair in view.targets], notes=list(view.notes), method=method,
            layer=view.layers_of(method)[0], target=view.targets[0][0],
        )  # fmt: skip
        self._view = view
        self._compute()
        self.observe(self._changed, ["method", "layer", "target", "signed"])

    def _changed(self, change: Any) -> None:
        layers = list(self._view.layers_of(self.method)) if self.method in self._view.methods else []
        with self.hold_sync():
            self.layers = layers
            if layers and self.layer not in layers:
                self.layer = layers[-1]  # told of again, by then with a layer that is there
            else:
                self._compute()

    def _compute(self) -> None:
        chosen = {n: getattr(self, n) for n in ("method", "layer", "target", "signed")}
        try:
            self.shown = {**vars(self._view.shown(**chosen)), "error": "", **{f"of_{n}": v for n, v in chosen.items()}}
        except FgcamError as error:
            said = {"heat": "", "told": "", "scale": {}, "note": "", "error": str(error)}
            self.shown = {**said, **{f"of_{n}": v for n, v in chosen.items()}}
