"""Every operator spec, by family."""

from __future__ import annotations

import specs_contraction
import specs_elementwise
import specs_movement
import specs_normalization
import specs_pooling
import specs_reduction
import specs_resize
import specs_sampling
from spec import Spec

SPECS: tuple[Spec, ...] = (
    *specs_contraction.SPECS,
    *specs_elementwise.SPECS,
    *specs_movement.SPECS,
    *specs_normalization.SPECS,
    *specs_pooling.SPECS,
    *specs_reduction.SPECS,
    *specs_resize.SPECS,
    *specs_sampling.SPECS,
)
