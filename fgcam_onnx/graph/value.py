"""Value: a typed tensor under construction, written with Python operators and NumPy functions.

A formula such as ``np.maximum(g, 0) * a`` computes when given arrays and emits ONNX nodes when given
values, so it is written once for tests, executor and exported file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .shapes import Dim, Shape

if TYPE_CHECKING:  # a value writes through its emitter, and an emitter gives out values: one thing, in two files
    from .emitter import Emitter

Array = Any
"""What formulas take and return: a :class:`Value` or an ndarray."""

UFUNCS: dict[np.ufunc, str] = {
    np.abs: "Abs",
    np.add: "Add",
    np.cos: "Cos",
    np.divide: "Div",
    np.equal: "Equal",
    np.exp: "Exp",
    np.floor: "Floor",
    np.greater: "Greater",
    np.greater_equal: "GreaterOrEqual",
    np.less: "Less",
    np.less_equal: "LessOrEqual",
    np.log: "Log",
    np.logical_and: "And",
    np.logical_not: "Not",
    np.logical_or: "Or",
    np.matmul: "MatMul",
    np.maximum: "Max",
    np.minimum: "Min",
    np.multiply: "Mul",
    np.negative: "Neg",
    np.power: "Pow",
    np.reciprocal: "Reciprocal",
    np.sign: "Sign",
    np.sin: "Sin",
    np.sinh: "Sinh",
    np.sqrt: "Sqrt",
    np.subtract: "Sub",
    np.tanh: "Tanh",
}

FUNCTIONS: dict[Any, Callable[..., Value]] = {
    np.where: lambda c, a, b: c.emitter.where(c, a, b),
    np.sum: lambda x, axis=None, keepdims=False: x.sum(axis, keepdims=keepdims),
    np.mean: lambda x, axis=None, keepdims=False: x.mean(axis, keepdims=keepdims),
    np.zeros_like: lambda x: x.emitter.zeros_like(x),
    np.ones_like: lambda x: x.emitter.zeros_like(x, fill=1),
    np.square: lambda x: x * x,
    np.take: lambda x, indices, axis: x.emitter.emit("Gather", x, x.emitter.ints(indices), axis=axis),
    np.concatenate: lambda xs, axis=0: xs[0].emitter.emit("Concat", *xs, axis=axis),
}


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph that ``emitter`` writes, known by its name, dtype and shape."""

    emitter: Emitter
    name: str

    @property
    def shape(self) -> Shape:
        """Dimensions: an int, or a symbol or None where the size is free."""
        return self.emitter.shape(self.name)

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return self.emitter.dtype(self.name)

    @property
    def constant(self) -> NDArray[Any] | None:
        """The value, where the graph fixes it; else None."""
        return self.emitter.constant_of(self.name)

    def __repr__(self) -> str:
        return f"Value({self.name!r}, {self.dtype}, {list(self.shape)})"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        if ufunc is np.square:
            return self * self
        if ufunc is np.not_equal:
            return np.logical_not(np.equal(*inputs))
        if ufunc not in UFUNCS:
            return NotImplemented
        return self.emitter.emit(UFUNCS[ufunc], *self.emitter.lift(*inputs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return FUNCTIONS[func](*args, **kwargs) if func in FUNCTIONS else NotImplemented

    def __add__(self, other: Any) -> Value:
        return self if _is(other, 0) else self.emitter.emit("Add", *self.emitter.lift(self, other))

    def __radd__(self, other: Any) -> Value:
        return self.__add__(other)

    def __sub__(self, other: Any) -> Value:
        return self if _is(other, 0) else self.emitter.emit("Sub", *self.emitter.lift(self, other))

    def __rsub__(self, other: Any) -> Value:
        return -self if _is(other, 0) else self.emitter.emit("Sub", *self.emitter.lift(other, self))

    def __mul__(self, other: Any) -> Value:
        if _is(other, 1):
            return self
        return -self if _is(other, -1) else self.emitter.emit("Mul", *self.emitter.lift(self, other))

    def __rmul__(self, other: Any) -> Value:
        return self.__mul__(other)

    def __truediv__(self, other: Any) -> Value:
        return self if _is(other, 1) else self.emitter.emit("Div", *self.emitter.lift(self, other))

    def __rtruediv__(self, other: Any) -> Value:
        return self.emitter.emit("Div", *self.emitter.lift(other, self))

    def __pow__(self, other: Any) -> Value:
        return self.emitter.emit("Pow", *self.emitter.lift(self, other))

    def __matmul__(self, other: Value) -> Value:
        return self.emitter.emit("MatMul", self, other)

    def __neg__(self) -> Value:
        return self.emitter.emit("Neg", self)

    def __abs__(self) -> Value:
        return self.emitter.emit("Abs", self)

    def __gt__(self, other: Any) -> Value:
        return self.emitter.emit("Greater", *self.emitter.lift(self, other))

    def __lt__(self, other: Any) -> Value:
        return self.emitter.emit("Less", *self.emitter.lift(self, other))

    def __ge__(self, other: Any) -> Value:
        return self.emitter.emit("GreaterOrEqual", *self.emitter.lift(self, other))

    def __le__(self, other: Any) -> Value:
        return self.emitter.emit("LessOrEqual", *self.emitter.lift(self, other))

    def __eq__(self, other: object) -> Any:
        """Compare elementwise, as an array does."""
        return self.emitter.emit("Equal", *self.emitter.lift(self, other))

    def __ne__(self, other: object) -> Any:
        """Compare elementwise, as an array does."""
        return self.emitter.emit("Not", self == other)

    __hash__ = None  # type: ignore[assignment]

    def astype(self, dtype: DTypeLike) -> Value:
        """Cast to ``dtype``; nothing is emitted when it already is."""
        return self.emitter.cast(self, np.dtype(dtype))

    def sum(self, axis: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Sum over ``axis`` (all axes when None)."""
        return self.emitter.reduce("ReduceSum", self, axis, keepdims=keepdims)

    def mean(self, axis: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Average over ``axis`` (all axes when None)."""
        return self.emitter.reduce("ReduceMean", self, axis, keepdims=keepdims)

    def max(self, axis: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Return the maximum over ``axis`` (all axes when None)."""
        return self.emitter.reduce("ReduceMax", self, axis, keepdims=keepdims)

    def min(self, axis: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Return the minimum over ``axis`` (all axes when None)."""
        return self.emitter.reduce("ReduceMin", self, axis, keepdims=keepdims)

    def reshape(self, shape: Sequence[Dim] | Value) -> Value:
        """Reshape; at most one free dimension stands for the batch, or ``shape`` is an int64 value."""
        return self.emitter.reshape(self, shape)

    def transpose(self, axes: Sequence[int]) -> Value:
        """Permute the axes; nothing is emitted for the identity."""
        if list(axes) == list(range(self.rank)):
            return self
        return self.emitter.emit("Transpose", self, perm=list(axes))


def _is(other: Any, number: float) -> bool:
    """Tell a neutral Python literal, for which no node is needed."""
    return isinstance(other, (int, float)) and other == number
