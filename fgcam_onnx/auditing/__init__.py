"""Tell whether a deployed model still looks at what its reference does: drift beside a floor, and a verdict.

Imports arguments, cam, errors, evaluation, explainer, explanation, graph, heads, imaging, layers, loading, methods,
metrics, report, stream, targets and version.
"""

from .comparing import audit
from .harmless import CHANGES, Change
from .measures import MEASURES, Measure
from .profiles import Blame, Profile
from .results import Audit
from .sameness import Sameness
from .verdicts import Line, Thresholds, Verdict

__all__ = [
    "CHANGES",
    "MEASURES",
    "Audit",
    "Blame",
    "Change",
    "Line",
    "Measure",
    "Profile",
    "Sameness",
    "Thresholds",
    "Verdict",
    "audit",
]
