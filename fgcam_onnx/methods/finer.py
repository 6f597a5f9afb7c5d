"""The seed of Finer-CAM: the classes most like the one explained, found in the graph."""

from __future__ import annotations

import numpy as np

from ..cam.finer import finer_gradient
from ..errors import TargetError
from ..graph.emitter import Emitter
from ..graph.value import Value
from ..program import Scored

SIMILAR = 3
"""How many classes the target is compared with, as in pytorch-grad-cam."""


def finer_seed(emitter: Emitter, scored: Scored) -> Value:
    """Return the cotangent of the logits for the target against the three classes of nearest logit.

    Raises
    ------
    TargetError
        The model has one class.
    """
    classes = scored.scores.shape[1]
    if not isinstance(classes, int) or classes < 2:
        raise TargetError("finercam compares a class with similar ones: the model has only one")
    distance = abs(scored.scores - scored.score.reshape((scored.scores.shape[0], 1)))
    others = emitter.where(scored.weights == 0, -distance, np.finfo(np.float32).min)
    count = min(SIMILAR, classes - 1)
    _, nearest = emitter.emit_many("TopK", others, emitter.ints([count]), count=2, axis=1)
    chosen = emitter.emit("Unsqueeze", nearest, emitter.ints([2])) == emitter.constant(np.arange(classes)[None, None])
    similar = chosen.astype(scored.scores.dtype).sum(1)
    return scored.spread(finer_gradient(scored.scores, scored.weights, similar))
