"""Judge methods on pictures: metrics, controls, and how sure one can be of them.

Imports asked, cam, errors, explainer, files, graph, imaging, layers, loading, methods, metrics, report, stream, sweep
and version.
"""

from .evaluating import evaluate
from .results import Evaluation, Line
from .subjects import Subject, Variant
from .truth import Box, Boxes, Masks, read_boxes, read_classes

__all__ = [
    "Box",
    "Boxes",
    "Evaluation",
    "Line",
    "Masks",
    "Subject",
    "Variant",
    "evaluate",
    "read_boxes",
    "read_classes",
]
