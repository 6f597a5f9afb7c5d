"""Fine-grained, faithful explanations of exported ONNX models, without the training framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import FgcamError
from .version import __version__

if TYPE_CHECKING:
    from .auditing import Audit, audit
    from .evaluation import evaluate
    from .explanation import Explanation
    from .exporter import Exported, export
    from .hand.explainer import Explainer, explain
    from .hand.model import Model, load
    from .methods import Tunnel

__all__ = [
    "Audit",
    "Explainer",
    "Explanation",
    "Exported",
    "FgcamError",
    "Model",
    "Tunnel",
    "__version__",
    "audit",
    "evaluate",
    "explain",
    "export",
    "load",
]

_HOMES = {
    "Audit": "auditing",
    "Explainer": "hand.explainer",
    "Explanation": "explanation",
    "Exported": "exporter",
    "Model": "hand.model",
    "Tunnel": "methods",
    "audit": "auditing",
    "evaluate": "evaluation",
    "explain": "hand.explainer",
    "export": "exporter",
    "load": "hand.model",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: onnx takes longer to load than a command's help."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
