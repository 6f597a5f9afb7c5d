"""What is explained, by pytorch-grad-cam's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import TargetError
from ..targets import Aim, Class, Objective, Predicted, Region, Weighted
from ..targets.classes import Probability


def ClassifierOutputTarget(category: int) -> Objective:  # noqa: N802
    """Return the logit of a class."""
    return Class(category)


def ClassifierOutputSoftmaxTarget(category: int) -> Objective:  # noqa: N802
    """Return the probability of a class."""
    return Probability(category)


@dataclass(frozen=True)
class ClassifierOutputReST(Objective):
    """The logit of a class and the logarithm of its probability (arXiv:2501.06261)."""

    category: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh by the gradient: twice the class less the probabilities."""
        z = predicted.logits.reshape(len(predicted.logits), -1).astype(np.float64)
        one = Class(self.category).aim(predicted).weights.reshape(z.shape)
        shifted = z - z.max(1, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        weights = (2 * one - np.exp(log)).astype(np.float32).reshape(predicted.logits.shape)
        score = (one * (z + log)).sum(1).astype(np.float32)
        return Aim(weights, score, (f"{self.named(self.category)}, logit and log probability",) * len(z))


@dataclass(frozen=True)
class BinaryClassifierOutputTarget(Objective):
    """The only output, positive for category 1, else negative."""

    category: int

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh the output by 1 or -1."""
        if predicted.logits[0].size != 1:
            raise TargetError(f"a binary classifier has one output for each image, not {predicted.logits[0].size}")
        sign = 1.0 if self.category == 1 else -1.0
        return Weighted(np.full(predicted.logits.shape[1:], sign)).aim(predicted)


@dataclass(frozen=True)
class RawScoresOutputTarget(Objective):
    """The output as it is; where it has several elements, their sum."""

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh every element by 1."""
        return Weighted(np.ones(predicted.logits.shape[1:])).aim(predicted)


def SemanticSegmentationTarget(category: int, mask: ArrayLike) -> Objective:  # noqa: N802
    """Return the sum of a category's logits over a mask (h, w) of an output (N, classes, h, w)."""
    return Region(category, mask)


@dataclass(frozen=True)
class FinerWeightedTarget(Objective):
    """A category against others, ``sum q_i (z - alpha z_i)``, q the softmax of their logits (arXiv:2501.11309).

    pytorch-grad-cam adds 1e-9 to what it divides by, which turns maps of sure predictions over.
    """

    main_category: int
    comparison_categories: Sequence[int]
    alpha: float = 1.0

    def aim(self, predicted: Predicted) -> Aim:
        """Weigh by the gradient: 1 for the category, ``q_i (z - alpha z_i - s) - alpha q_i`` for the others."""
        z = predicted.logits.reshape(len(predicted.logits), -1).astype(np.float64)
        others = list(self.comparison_categories)
        outside = [c for c in (self.main_category, *others) if not 0 <= c < z.shape[1]]
        if outside or not others or self.main_category in others:
            raise TargetError(
                f"finer weights compare a category with others, all of 0 to {z.shape[1] - 1}, not {self.main_category} "
                f"with {others}"
            )
        q = np.exp(z[:, others] - z[:, others].max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        apart = z[:, [self.main_category]] - self.alpha * z[:, others]
        score = (q * apart).sum(1)
        weights = np.zeros_like(z)
        weights[:, self.main_category] = 1
        weights[:, others] = q * (apart - score[:, None]) - self.alpha * q
        said = f"{self.named(self.main_category)} against {', '.join(map(self.named, others))}"
        shaped = weights.astype(np.float32).reshape(predicted.logits.shape)
        return Aim(shaped, score.astype(np.float32), (said,) * len(z))
