"""Operators whose output does not change with their input, but for jumps: no derivative."""

from __future__ import annotations

from .rule import Rules, refused

# fmt: off
STEPS = (
    "And", "ArgMax", "ArgMin", "Bernoulli", "BitShift", "Ceil", "ConstantOfShape", "Equal", "EyeLike",
    "Floor", "Greater", "GreaterOrEqual", "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual",
    "NonMaxSuppression", "NonZero", "Not", "Or", "RandomNormalLike", "RandomUniformLike", "Round", "Shape",
    "Sign", "Size", "Xor",
)
# fmt: on

RULES: Rules = {
    **dict.fromkeys(STEPS, (None,) * 5),
    "OneHot": (None, None, refused),
    "Range": (refused, refused, refused),
    "Unique": (refused,),
}
