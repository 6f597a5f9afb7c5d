"""Tell whether a deployed model still looks at what its reference does: drift beside a floor, and a verdict.

Imports arguments, asked, blame, cam, errors, evaluation, explainer, explanation, graph, heads, imaging, layers,
loading, methods, metrics, report, saving, stream, targets and version.
"""

from .comparing import audit
from .harmless import CHANGES, Change
from .measures import MEASURES, Measure
from .results import Audit
from .sameness import Sameness
from .verdicts import Line, Thresholds, Verdict

__all__ = [
    "CHANGES",
    "MEASURES",
    "Audit",
    "Change",
    "Line",
    "Measure",
    "Sameness",
    "Thresholds",
    "Verdict",
    "audit",
]
