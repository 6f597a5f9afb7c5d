"""A viewer for notebooks: class, layer, method and opacity, on one picture.

Imports errors, explanation, gallery, graph, hand, imaging, methods and sweep.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..graph import model as graph
from ..hand.intake import Picture
from .view import View

if TYPE_CHECKING:
    from anywidget import AnyWidget

__all__ = ["View", "viewer"]


def viewer(model: graph.Model | str | Path, picture: Picture, **options: Any) -> AnyWidget:
    """Return a widget that shows maps of a picture: class, layer, method and opacity are chosen in it.

    Parameters
    ----------
    model, picture
        As for `View`.
    **options
        Of `View`: ``methods``, ``layers``, and those of an :class:`fgcam_onnx.Explainer`.

    Raises
    ------
    OptionError
        anywidget is not there: ``pip install "fgcam-onnx[notebook]"``.
    FgcamError
        As for `View`.
    """
    try:
        from .widget import Viewer
    except ImportError as error:
        raise OptionError(f'the viewer needs anywidget ({error}): pip install "fgcam-onnx[notebook]"') from error
    return Viewer(View(model, picture, **options))
