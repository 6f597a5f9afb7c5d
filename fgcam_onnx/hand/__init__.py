"""Pictures in, answers out: the explainer and the model as people hold them.

Imports cam, errors, explainer, explanation, feeding, graph, heads, imaging, loading, methods, preparing, ranking,
report, surgery and targets.
"""

from __future__ import annotations

from .explainer import Explainer, explain
from .intake import GuessWarning
from .model import Model, load
from .prediction import Prediction

__all__ = ["Explainer", "GuessWarning", "Model", "Prediction", "explain", "load"]
