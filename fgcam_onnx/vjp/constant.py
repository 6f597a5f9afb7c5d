"""Operators whose output does not change with their input, but for jumps: no derivative."""

from __future__ import annotations

from .rule import Rules

STEPS = (
    "And ArgMax ArgMin Bernoulli BitShift Ceil ConstantOfShape Equal EyeLike Floor Greater GreaterOrEqual Hardmax"
    " IsInf IsNaN Less LessOrEqual NonMaxSuppression NonZero Not OneHot Or RandomNormalLike RandomUniformLike Range"
    " Round Shape Sign Size Unique Xor"
).split()

RULES: Rules = {op: (None,) * 5 for op in STEPS}
