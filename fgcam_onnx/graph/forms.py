"""Forms: the many ways in which exporters write one function, found by what they compute.

GELU is written with five operators in any order, a LayerNormalization with nine, attention's Softmax behind a guard
against rows without any logit. A few operators that make a tensor of a single other one are a function of it; asked
for numbers, it is one of those in ``SCALAR`` and ``ALONG_LAST`` or it is not. Walks see one record of it, so that rules
need to know one way of writing; the forward graph stays as the file has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from .facts import producers_of, reached_from
from .memo import once
from .model import Model, dims_of
from .pointwise import FORMULAS, computed
from .tape import Record, Tape

Array = NDArray[Any]

LARGEST = 24
"""Most operators of one form."""
TELLING = frozenset({"Erf", "Exp", "Clip", "HardSigmoid", "Max", "Min", "Sigmoid", "Softmax", "Softplus", "Tanh"})
"""Operators of which one at least is in each form that is no normalization."""
REDUCING = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Softmax"})

REACH = 1e3
"""How large the numbers are that a form is asked about: a bound that only larger ones meet is a guard, and no part of
what it computes."""
FAR: Array = np.geomspace(10, REACH, 9)
POINTS: Array = np.concatenate([np.linspace(-9, 9, 145), FAR, -FAR])
SPREADS = np.array([3e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 1.0, 1.0, REACH])
MEANS = np.array([2.1, 0.7, 0.35, 0.07, 7e-3, 2.1e-3, -REACH, REACH, 0.0])
"""How far the rows that a normalization is asked about spread, and where they lie; ``epsilon`` shows in the first."""
NEAR = 6
"""How many of them no file may overflow on."""
EXACT = 2e-6
"""How far numbers may lie apart, of 1 and more: the constants of a file are rounded to float32."""


@dataclass(frozen=True)
class Form:
    """One function, and the operators that a file writes it with.

    Attributes
    ----------
    op : str
        The operator that it is.
    attrs : mapping
        Its attributes.
    x, output : str
        The tensor it is a function of, and the one it makes.
    inner : frozenset of str
        The tensors between them.
    parameters : tuple of ndarray
        Scale and shift, where it takes them.
    """

    op: str
    attrs: Mapping[str, Any]
    x: str
    output: str
    inner: frozenset[str]
    parameters: tuple[Array, ...] = field(default=(), repr=False)


def _sigmoid(x: Array) -> Array:
    total: Array = 1 / (1 + np.exp(-x))
    return total


def _swish(x: Array, a: float) -> Array:
    total: Array = x * _sigmoid(a * x)
    return total


def _gelu(x: Array, _: float) -> Array:
    total: Array = x * 0.5 * (FORMULAS["Erf"](x * np.sqrt(0.5)) + 1)
    return total


def _gelu_tanh(x: Array, _: float) -> Array:
    total: Array = x * 0.5 * (np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)) + 1)
    return total


SCALAR: tuple[tuple[str, Mapping[str, Any], Callable[[Array, float], Array]], ...] = (
    ("Gelu", {}, _gelu),
    ("Gelu", {"approximate": "tanh"}, _gelu_tanh),
    ("Swish", {"alpha": None}, _swish),
    ("HardSwish", {}, lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("Mish", {}, lambda x, _: x * np.tanh(np.logaddexp(x, 0))),
    ("Sigmoid", {}, lambda x, _: _sigmoid(x)),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, lambda x, _: np.clip(x / 6 + 0.5, 0, 1)),
    ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}, lambda x, _: np.clip(x * 0.2 + 0.5, 0, 1)),
    ("Tanh", {}, lambda x, _: np.tanh(x)),
    ("Softplus", {}, lambda x, _: np.logaddexp(x, 0)),
    ("LeakyRelu", {"alpha": None}, lambda x, a: np.where(x < 0, a * x, x)),
    ("Elu", {"alpha": None}, lambda x, a: FORMULAS["Elu"](x, alpha=a)),
)
"""Functions of one number: operator, attributes, formula of it and an attribute that is None: one of the constants."""


def _normalized(x: Array, epsilon: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return _by_root(centred, epsilon)


def _by_root(x: Array, epsilon: float) -> Array:
    total: Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return total


ALONG_LAST: tuple[tuple[str, Callable[[Array, float], Array], int], ...] = (
    ("Softmax", lambda x, _: FORMULAS["Softmax"](x), 0),
    ("LayerNormalization", _normalized, 2),
    ("RMSNormalization", _by_root, 1),
)
"""Functions along the last axis: operator, formula of them and ``epsilon``, and how many parameters follow them."""


@once
def forms_of(model: Model) -> Mapping[str, Form]:
    """Return the forms in ``model``, by the tensor that each makes; no operator belongs to two."""
    varying = reached_from(model, *(i.name for i in model.inputs))
    finding = _Finding(model, varying, {n.output[0]: i for i, n in enumerate(model.nodes) if n.output})
    found: dict[str, Form] = {}
    taken: set[str] = set()
    for node in reversed(model.nodes):
        if node.op_type in FORMULAS and not node.domain and node.output[0] in varying and node.output[0] not in taken:
            form = finding.ending_in(node, taken)
            if form is not None:
                found[form.output] = form
                taken |= {form.output, *form.inner}
    return found


def in_forms(tape: Tape) -> Tape:
    """Return ``tape`` with the operators of each form one record.

    They stay where a tensor between them is the tape's source or output, or is read by another operator.
    """
    records = dict(enumerate(tape))
    if not records:
        return tape
    forms = forms_of(records[0].emitter.model)
    kept = tape.sources | {tape.output}
    places = {r.output.name: i for i, r in records.items() if r.outputs[0] is not None}
    readers: dict[str, set[int]] = {}
    for i, record in records.items():
        for v in record.inputs:
            if v is not None:
                readers.setdefault(v.name, set()).add(i)
    for output, form in forms.items():
        if output not in places or form.inner & kept:
            continue
        own = {places[n] for n in (*form.inner, output) if n in places}
        if form.x in kept | places.keys() and all(readers.get(n, set()) <= own for n in form.inner):
            end = places[output]
            for i in own - {end}:
                del records[i]
            records[end] = _as_one(records[end], form)
    return replace(tape, records=tuple(records[i] for i in sorted(records)))


def _as_one(end: Record, form: Form) -> Record:
    e = end.emitter
    x = e.value(form.x)
    others = [e.constant(p.astype(x.dtype)) for p in form.parameters]
    return Record(form.op, "", end.name, (x, *others), end.outputs, dict(form.attrs), (True, *[False] * len(others)))


@dataclass(frozen=True)
class _Finding:
    """The search for forms in one model, and what was found out of those that compute the same."""

    model: Model
    varying: set[str]
    order: Mapping[str, int]
    known: dict[Any, tuple[str, Mapping[str, Any], tuple[Array, ...]] | None] = field(default_factory=dict)

    def ending_in(self, end: NodeProto, taken: set[str]) -> Form | None:
        """Return the largest form whose last operator is ``end``."""
        found: Form | None = None
        for x, nodes in self._regions(end, taken):
            read = sum(list(n.input).count(x) for n in nodes)
            ops = {n.op_type for n in nodes}
            if not (ops & TELLING or (ops & REDUCING and read > 1)) or (read < 2 and not ops & {"Exp", "Softmax"}):
                continue
            told = self._told(x, nodes)
            if told is not None:
                inner = frozenset(n.output[0] for n in nodes) - {end.output[0]}
                found = Form(told[0], told[1], x, end.output[0], inner, told[2])
        return found

    def _regions(self, end: NodeProto, taken: set[str]) -> Iterator[tuple[str, list[NodeProto]]]:
        """Yield ever more operators behind ``end`` that read a single tensor: that tensor, and they in order."""
        producers, inside = producers_of(self.model), {end.output[0]: end}
        frontier = {i for i in end.input if i in self.varying}
        while len(inside) < LARGEST and frontier:
            if len(frontier) == 1 and len(inside) > 1:
                yield next(iter(frontier)), [inside[n] for n in sorted(inside, key=self.order.__getitem__)]
            open_ = {n: p for n in frontier if (p := producers.get(n)) is not None and self._extends(p, taken)}
            if not open_ or len(frontier) - len(open_) > 1:
                return
            name = max(open_, key=self.order.__getitem__)
            inside[name] = open_[name]
            frontier = frontier - {name} | {i for i in open_[name].input if i in self.varying}

    def _extends(self, node: NodeProto, taken: set[str]) -> bool:
        return node.op_type in FORMULAS and not node.domain and node.output[0] not in taken and len(node.output) == 1

    def _told(self, x: str, nodes: Sequence[NodeProto]) -> tuple[str, Mapping[str, Any], tuple[Array, ...]] | None:
        """Return operator, attributes and parameters of what ``nodes`` make of ``x``; None where it is none known."""
        names = {x: "x"} | {n.output[0]: str(i) for i, n in enumerate(nodes)}
        constants = {i: self.model.constants.get(i) for n in nodes for i in n.input if i and i not in names}
        size = dims_of(self.model.types[x]) if x in self.model.types else ()
        width = size[-1] if size and isinstance(size[-1], int) else 0
        if any(
            c is None or c.dtype.kind not in "fiub" or (c.size > 1 and c.shape[-1] != c.size)
            or c.size not in (1, width) for c in constants.values()
        ):  # fmt: skip
            return None
        if sum(c is not None and c.size > 1 for c in constants.values()) > 2:
            return None
        arrays = {n: c for n, c in constants.items() if c is not None}
        key = (
            *((width, len(size)) if {n.op_type for n in nodes} & REDUCING else ()),
            *((n.op_type, *(names.get(i) or arrays[i].tobytes() if i else "" for i in n.input),
               *(a.SerializeToString(deterministic=True) for a in n.attribute)) for n in nodes),
        )  # fmt: skip
        if key not in self.known:
            with np.errstate(all="ignore"):
                self.known[key] = _recognized(x, nodes, arrays, width=width, rank=len(size))
        return self.known[key]


def _recognized(
    x: str, nodes: Sequence[NodeProto], arrays: Mapping[str, Array], *, width: int, rank: int
) -> tuple[str, Mapping[str, Any], tuple[Array, ...]] | None:
    output = nodes[-1].output[0]
    axes = {n.input[1] for n in nodes if n.op_type in REDUCING and len(n.input) > 1}
    wide = {n: a.reshape(-1) if a.size > 1 or n in axes else a.reshape(()) for n, a in arrays.items()}
    wide = {n: a.astype(np.float64) if a.dtype.kind == "f" or n not in axes else a for n, a in wide.items()}
    numbers = [float(a) for n, a in wide.items() if a.ndim == 0 and a.dtype.kind == "f"]
    if not any(n.op_type in REDUCING for n in nodes):
        y = None if any(a.ndim for a in wide.values()) else computed(nodes, {x: POINTS, **wide}, output)
        return None if y is None else _scalar(y, numbers)
    if width < 2:
        return None
    rows = _rows(
        width, peaks={0, width - 1} | {int(f(a)) for a in wide.values() if a.ndim for f in (np.argmax, np.argmin)}
    )
    # as many axes as the tensor has, so that an axis counted from the front is the same one
    asked = rows.reshape(len(rows), *[1] * (rank - 2), width)
    y = computed(nodes, {x: asked, **wide}, output)
    if y is None or y.shape != asked.shape:
        return None
    told = np.asarray(np.isfinite(y.reshape(rows.shape)).all(1))
    return _along_last(rows[told], y.reshape(rows.shape)[told], numbers) if told[:NEAR].all() else None


def _rows(width: int, *, peaks: Collection[int]) -> Array:
    """Return rows of all spreads, and some of which one number is far above, or below, the others.

    These make a Softmax and a normalization as large as they get: a bound on them shows.
    """
    rng, columns = np.random.default_rng(0), sorted(peaks)
    spread: Array = rng.standard_normal((len(SPREADS), width)) * SPREADS[:, None] + MEANS[:, None]
    peaked = rng.standard_normal((2 * len(columns), width))
    peaked[np.arange(len(peaked)), 2 * columns] += np.repeat([REACH, -REACH], len(columns))
    return np.concatenate([spread, peaked])


def _near(y: Array, wanted: Array) -> bool:
    """Tell whether numbers are the same, beside how far they spread: what hardly varies is like every function."""
    spread = np.ptp(y)
    return bool(spread > 0 and np.all(np.abs(y - wanted) <= EXACT * np.minimum(np.maximum(1, np.abs(wanted)), spread)))


def _scalar(y: Array, numbers: Sequence[float]) -> tuple[str, Mapping[str, Any], tuple[Array, ...]] | None:
    if y.shape != POINTS.shape:
        return None
    told = np.isfinite(y) | (abs(POINTS) < FAR[0])
    for op, attrs, formula in SCALAR:
        free = [k for k, v in attrs.items() if v is None]
        for a in (1.0, *numbers) if free else (1.0,):
            if _near(y[told], formula(POINTS[told], a)):
                return op, {**attrs, **dict.fromkeys(free, a)}, ()
    return None


def _along_last(
    x: Array, y: Array, numbers: Sequence[float]
) -> tuple[str, Mapping[str, Any], tuple[Array, ...]] | None:
    """Tell Softmax, and normalizations by scale and shift that fit what they make of every row."""
    for op, formula, count in ALONG_LAST:
        for epsilon in (0.0, *(n for n in numbers if 0 < n < 0.1)) if count else (0.0,):
            hat = formula(x, epsilon)
            scale, shift = _line(hat, y) if count == 2 else (np.sum(hat * y, 0) / np.sum(hat * hat, 0), 0.0 * y[0])
            scale, shift = (scale, shift) if count else (np.ones_like(scale), shift)
            if _near(y, hat * scale + shift):
                attrs = {"axis": -1, "epsilon": epsilon} if count else {"axis": -1}
                return op, attrs, (scale, shift)[:count]
    return None


def _line(x: Array, y: Array) -> tuple[Array, Array]:
    """Return slope and offset of ``y`` over ``x``, column by column."""
    dx, dy = x - x.mean(0), y - y.mean(0)
    slope: Array = np.sum(dx * dy, 0) / np.sum(dx * dx, 0)
    return slope, y.mean(0) - slope * x.mean(0)
