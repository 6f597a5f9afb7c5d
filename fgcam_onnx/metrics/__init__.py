"""How good a map is: the table of metrics, the controls that stand beside every map, and what measures both.

Imports errors and matrices.
"""

from .case import Case, Explain, Picture
from .controls import CONTROLS, Control
from .measuring import measure
from .metric import Metric
from .table import METRICS, USUAL, find_metric

__all__ = ["CONTROLS", "METRICS", "USUAL", "Case", "Control", "Explain", "Metric", "Picture", "find_metric", "measure"]
