"""The matrix of a linear operator, by running it on the identity basis: what runs, and what the rules walk back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from oracles import SEED, needed, probe

from fgcam_onnx.errors import FgcamError
from fgcam_onnx.runtime import Session

ROUNDING = 2e-6
"""How far a weight may be off, relative to the largest: weights are products of up to three float32 numbers."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One node that is linear in its first input, or piecewise so, all other inputs being constants.

    Attributes
    ----------
    shape : tuple of int
        Of the first input.
    rest : tuple of ndarray or None
        The other inputs.
    outputs : int
        How many outputs the node has; the first is looked at.
    pieces : bool
        Whether the operator is linear only in pieces: it is looked at where its inputs differ by 1, in steps of 1/4.
    before : int
        How many of ``rest`` stand before the input that is looked at.
    """

    op: str
    shape: tuple[int, ...]
    rest: tuple[np.ndarray | None, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 19
    outputs: int = 1
    pieces: bool = False
    before: int = 0

    def __str__(self) -> str:
        rest = ", ".join("-" if a is None else str(a.tolist() if a.size < 9 else a.shape) for a in self.rest)
        attrs = ", ".join(f"{k}={v}" for k, v in self.attrs.items())
        return f"{self.op}-{self.opset} {list(self.shape)} ({rest}) {attrs}"

    def proto(self) -> ModelProto:
        """Return a model of this node alone."""
        names = ["" if a is None else f"p{i}" for i, a in enumerate(self.rest)]
        names.insert(self.before, "x")
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, name="tested", **self.attrs)
        graph = helper.make_graph(
            [node],
            "setting",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a, f"p{i}") for i, a in enumerate(self.rest) if a is not None],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


@dataclass(frozen=True)
class Outcome:
    """What became of a setting: ``right``, ``wrong``, ``refused`` by this package, or ``not run`` by the runtime."""

    kind: str
    reason: str = ""
    off: float = 0.0


Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def basis(shape: tuple[int, ...]) -> np.ndarray:
    """Return every tensor of ``shape`` that is 1 at one place and 0 at all others."""
    size = math.prod(shape)
    return np.eye(size, dtype=np.float32).reshape(size, *shape)


def matrix_of(setting: Setting, run: Run) -> np.ndarray:
    """Return how much each output changes by a step of 1 of each input, one input after the other."""
    here, step = np.zeros(setting.shape, np.float32), 1.0
    if setting.pieces:
        here, step = point(setting.shape), 0.25
    y = run({"x": here})["y0"]
    moved = [run({"x": here + np.float32(step) * unit})["y0"] for unit in basis(setting.shape)]
    return (np.stack(moved) - y) / np.float32(step)


def point(shape: tuple[int, ...]) -> np.ndarray:
    """Return distinct whole numbers and a half, of both signs: no step of 1/4 crosses a kink."""
    size = math.prod(shape)
    places = np.random.default_rng([*shape]).permutation(size)
    return (places - size // 2 + 0.5).reshape(shape).astype(np.float32)


def ran(setting: Setting) -> np.ndarray | str:
    """Return the matrix of the file's operator in ONNX Runtime, or why that does not run it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(setting.proto().SerializeToString(), options)
        matrix = matrix_of(setting, lambda feeds: {"y0": session.run(["y0"], dict(feeds))[0]})
    except Exception as error:  # onnxruntime's own exception classes share no root
        return str(error)
    return matrix if matrix.size else "nothing comes out"


def judged(setting: Setting) -> Outcome:
    """Compare what the file's operator does with the loaded model, and with the transpose that the rules make."""
    theirs = ran(setting)
    if isinstance(theirs, str):
        return Outcome("not run", theirs)
    out = theirs.shape[1:]
    try:
        tested = probe(setting.proto(), wrt=["x"], output="y0")
        forward, gradient = Session(tested.forward, threads=1), Session(tested.gradient, threads=1)
        loaded = matrix_of(setting, forward.run)
        if loaded.shape != theirs.shape:
            return Outcome("wrong", f"the loaded model makes {loaded.shape[1:]}, the file {out}", np.inf)
        if not np.array_equal(loaded, theirs, equal_nan=True):
            return Outcome("wrong", "the loaded model computes something else", float(abs(loaded - theirs).max()))
        here = point(setting.shape) if setting.pieces else np.zeros(setting.shape, np.float32)
        back = [gradient.run(needed(tested.gradient, {"x": here, SEED: g}))["d/x"] for g in basis(out)]
    except FgcamError as error:
        return Outcome("refused", str(error))
    matrix = theirs.reshape(len(theirs), -1)
    transposed = np.stack(back, axis=-1).reshape(matrix.shape) if back else np.zeros_like(matrix)
    off = float(abs(transposed - matrix).max(initial=0)) / max(1e-30, float(abs(matrix).max(initial=0)))
    if not off <= ROUNDING:
        return Outcome("wrong", "the walk back is not the transpose", off)
    return Outcome("right", off=off)
