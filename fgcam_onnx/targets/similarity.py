"""How near the output is to a reference embedding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..errors import TargetError
from .objective import Aim, Objective, Predicted


@dataclass(frozen=True)
class Similarity(Objective):
    """The cosine of the output with a reference embedding, such as a reference picture's.

    Attributes
    ----------
    embedding : array
        Of the shape of one image's output, or as many elements.
    name : str
        What it is the embedding of.
    """

    embedding: ArrayLike = field(compare=False)
    name: str = "the reference"

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh by the gradient of the cosine: (r/|r| - cos * z/|z|) / |z|."""
        z = predicted.logits.reshape(len(predicted.logits), -1).astype(np.float64)
        r = np.asarray(self.embedding, np.float64).reshape(-1)
        if r.size != z.shape[1]:
            raise TargetError(f"a reference of {r.size} numbers does not fit an output of {z.shape[1]} for each image")
        length, norm = float(np.linalg.norm(r)), np.linalg.norm(z, axis=1, keepdims=True)
        if not np.isfinite(length) or length == 0 or not norm.all():
            raise TargetError("the cosine with an embedding that is all 0 or not finite has no value")
        r, unit = r / length, z / norm
        cosine = unit @ r
        weights = ((r - cosine[:, None] * unit) / norm).astype(np.float32)
        described = (f"like {self.name}",) * len(z)
        return Aim(weights.reshape(predicted.logits.shape), cosine.astype(np.float32), described)
