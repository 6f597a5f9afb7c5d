"""What relevance starts from at the logits, from the target's weights ``s`` (one-hot for a class)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import check_known
from ..graph.value import Array


def contrastive(scored: Any) -> Array:
    """Return 1 for the target and -1/K for each other of K classes (Lee et al., CVPR 2021)."""
    s = scored.weights
    classes = s.shape[1]
    return s * (1 + 1 / classes) - s.sum(1, keepdims=True) / classes


def logit(scored: Any) -> Array:
    """Return the target's logit, and 0 for every other class (Bach et al., 2015)."""
    return scored.weights * scored.scores


def plain(scored: Any) -> Array:
    """Return 1 for the target and 0 for every other class."""
    return scored.weights


def signed(scored: Any) -> Array:
    """Return 1 for the target, -1 where its logit is below 0.

    Rules that divide by an output below 0 turn what they hand back over; so it is positive again where it speaks for
    the target.
    """
    return np.where(scored.scores < 0, -scored.weights, scored.weights)


def softmax_gradient(scored: Any) -> Array:
    """Return the gradient of the target's probability (SGLRP: Iwana et al., 2019, arXiv:1908.04351)."""
    s, raised = scored.weights, np.exp(scored.scores - scored.scores.max(1, keepdims=True))
    p = raised / raised.sum(1, keepdims=True)
    return p * (s - (s * p).sum(1, keepdims=True))


START: dict[str, Callable[[Any], Array]] = {
    "contrastive": contrastive,
    "logit": logit,
    "plain": plain,
    "sglrp": softmax_gradient,
    "signed": signed,
}


def find_start(name: str) -> Callable[[Any], Array]:
    """Return the start called ``name``."""
    check_known("start", name, START)
    return START[name]
