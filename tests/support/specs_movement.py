"""Specs of the operators that move elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from spec import Spec, ints, normal, spec

X = normal(3, 4, 5)
LAST = np.iinfo(np.int64).min


def moved(op: str, *inputs: np.ndarray | None, about: str = "", **attrs: Any) -> Spec:
    return spec(op, *inputs, about=about, linear=True, **attrs)


def sliced(about: str, starts: np.ndarray, ends: np.ndarray, *rest: np.ndarray | None) -> Spec:
    return moved("Slice", X, starts, ends, *rest, about=about)


def padded(about: str, pads: np.ndarray, *rest: np.ndarray | None, **attrs: Any) -> Spec:
    return moved("Pad", X, pads, *rest, about=about, **({"opset": 19} | attrs))


def gathered(about: str, indices: np.ndarray, **attrs: Any) -> Spec:
    return moved("Gather", X, indices, about=about, **attrs)


SPECS: tuple[Spec, ...] = (
    moved("Col2Im", normal(2, 12, 6), ints(4, 5), ints(3, 2), strides=[1, 1], dilations=[1, 2], about="dilated"),
    moved("Col2Im", normal(1, 8, 12), ints(5, 5), ints(2, 2), strides=[2, 2], pads=[1, 2, 0, 1], about="padded"),
    moved("Col2Im", normal(2, 18, 4), ints(4, 4), ints(3, 3), about="overlapping"),
    moved("Concat", normal(2, 3), normal(2, 1), about="axis 1", axis=1),
    moved("Concat", normal(2, 3), normal(1, 3), normal(4, 3), about="negative axis", axis=-2),
    moved("DepthToSpace", normal(2, 12, 2, 3), blocksize=2),
    moved("DepthToSpace", normal(2, 12, 2, 3), about="CRD", blocksize=2, mode="CRD"),
    moved("Expand", normal(3, 1), ints(2, 3, 4)),
    moved("Expand", normal(2, 3, 4), ints(1, 3, 1), about="to a smaller shape"),
    moved("Flatten", X),
    moved("Flatten", X, about="axis 0", axis=0),
    moved("Flatten", X, about="axis -1", axis=-1),
    gathered("", ints(2, 0)),
    gathered("negative and repeated", ints(-1, 0, -1, 2), axis=1),
    gathered("last axis", ints(4, 4, 1), axis=-1),
    gathered("two-dimensional indices", np.array([[0, 2], [-1, 2]])),
    gathered("two-dimensional indices on axis 1", np.array([[0, 2, 1], [-1, 2, 2]]), axis=1),
    gathered("scalar", np.array(1)),
    gathered("negative scalar on axis 2", np.array(-2), axis=2),
    gathered("int32", np.array([1, 1], np.int32), axis=1),
    moved("GatherElements", X, np.array([[[0, 2, -1, 1, 1]]])),
    moved("GatherElements", X, np.tile(np.array([[[0], [-1], [0], [2]]]), (3, 1, 3)), about="axis -1", axis=-1),
    moved("GatherND", X, np.array([[0, 1], [2, 3], [0, 1]])),
    moved("GatherND", X, np.array([[[0], [-1]]]), about="whole slices"),
    moved("GatherND", X, np.array([[1, -1], [0, 0], [3, 2]]), about="batch 1", batch_dims=1),
    moved(
        "GatherND",
        normal(2, 3, 4),
        np.array([[[1], [0], [3]], [[2], [2], [-1]]]),
        about="batch 2",
        batch_dims=2,
    ),
    padded("", ints(0, 1, 2, 1, 0, 3)),
    padded("value and axes", ints(2, 1), np.array(0.5), ints(-1)),
    padded("value of one element", ints(0, 1, 2, 0, 0, 3), np.array([0.5])),
    padded("negative", ints(-1, 1, 0, 0, -2, 2)),
    padded("negative on both sides", ints(0, -1, -2, 0, -1, -1)),
    padded("reflected", ints(0, 2, 1, 0, 1, 4), mode="reflect"),
    padded("repeated edge", ints(2, 0, 1, 1, 3, 0), mode="edge"),
    padded("repeated edge, axes", ints(2, 3, 1, 0), None, ints(0, -1), mode="edge"),
    padded("wrapped", ints(0, 3, 2, 2, 0, 1), mode="wrap"),
    padded("nothing", ints(0, 0, 0, 0, 0, 0)),
    moved("Reshape", X, ints(5, -1)),
    moved("Reshape", X, ints(0, 0, 5, 1), about="copied dimensions"),
    moved("ScatterElements", X, np.array([[[0, 2, 1, 1, 0]]]), normal(1, 1, 5)),
    moved("ScatterElements", X, np.array([[[0], [3], [-1], [2]]]), normal(1, 4, 1), about="axis -1", axis=-1),
    moved(
        "ScatterElements",
        X,
        np.array([[[0, 2, 0, 1, 0]] * 2]),
        normal(1, 2, 5),
        about="added",
        reduction="add",
    ),
    moved("ScatterND", X, np.array([[0, 1], [2, 3]]), normal(2, 5)),
    moved("ScatterND", X, np.array([[0], [-1], [0]]), normal(3, 4, 5), about="added", reduction="add"),
    sliced("", ints(1, 0), ints(3, 2)),
    sliced("negative bounds", ints(-3), ints(-1), ints(-1)),
    sliced("step 2", ints(0, 1), ints(5, 5), ints(2, 1), ints(2, 2)),
    sliced("step 3 leaving a tail", ints(0), ints(4), ints(2), ints(3)),
    sliced("reversed", ints(-1), ints(LAST), ints(1), ints(-1)),
    sliced("reversed by 2", ints(4), ints(0), ints(2), ints(-2)),
    sliced("reversed by 2, begin clamped", ints(99), ints(-99), ints(2), ints(-2)),
    sliced("ends clamped", ints(-99), ints(99), ints(1)),
    sliced("several axes, one reversed", ints(2, 1, -1), ints(-99, 3, 1), ints(0, 1, 2), ints(-1, 1, -2)),
    moved("SpaceToDepth", normal(2, 3, 4, 6), blocksize=2),
    moved("SpaceToDepth", normal(2, 3, 4, 6), about="CRD", blocksize=2, mode="CRD", opset=28, compiled=False),
    moved("Split", normal(2, 6), about="joined", joined=3, axis=1, num_outputs=3),
    moved("Split", normal(7, 2), ints(2, 4, 1), about="uneven, one part leads on", outputs=3),
    moved("Split", normal(7, 2), about="uneven by number", joined=2, outputs=3, num_outputs=3),
    moved("Split", normal(2, 6), ints(1, 5), about="negative axis", joined=2, axis=-1),
    moved("Squeeze", normal(2, 1, 3, 1)),
    moved("Squeeze", normal(1, 3, 1, 2), ints(-2), about="one axis"),
    moved("Tile", normal(2, 3), ints(2, 1)),
    moved("Tile", normal(2, 1, 3), ints(2, 3, 2), about="every axis"),
    moved("Transpose", X),
    moved("Transpose", X, about="perm", perm=[1, 2, 0]),
    moved("Trilu", normal(2, 4, 5)),
    moved("Trilu", normal(2, 4, 5), np.array(-1), about="lower, k -1", upper=0),
    moved("Trilu", normal(4, 3), np.array(2), about="upper, k 2"),
    moved("Unsqueeze", normal(2, 3), ints(0, -1)),
)
