"""Cells: what strided windows hand back, shared in the steps of their strides, against plain loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from nets import model_of, node
from numpy.typing import NDArray

import fgcam_onnx
from fgcam_onnx.cells import cell_of, in_cells, reads_evenly
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.tape import Record, tape_between
from fgcam_onnx.graph.value import Value
from fgcam_onnx.loading.loading import load
from fgcam_onnx.runtime import Session

RNG = np.random.default_rng(5)
Cell = tuple[int, ...]

WINDOWS: dict[str, tuple[str, dict[str, Any], Cell]] = {
    "1 x 1, stride 2": ("Conv", {"kernel_shape": [1, 1], "strides": [2, 2]}, (2, 2)),
    "3 x 3, stride 2, padded": ("Conv", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, (2, 2)),
    "5 x 3, strides 3 and 2": ("Conv", {"kernel_shape": [5, 3], "strides": [3, 2], "pads": [2, 0, 1, 1]}, (3, 2)),
    "even along one axis": ("Conv", {"kernel_shape": [2, 3], "strides": [2, 2]}, (1, 2)),
    "dilated": ("Conv", {"kernel_shape": [2, 2], "strides": [2, 2], "dilations": [2, 1]}, (2, 1)),
    "overlapping maxima": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (2, 2)),
    "overlapping averages": ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2]}, (2, 2)),
    "overlapping norms": ("LpPool", {"kernel_shape": [3, 3], "strides": [2, 2], "p": 2}, (2, 2)),
}


def one_window(op: str, attrs: dict[str, Any], *, size: Cell = (7, 9), before: str = "Relu") -> onnx.ModelProto:
    """Build a net of one window, behind an operator that may rectify."""
    weights, reads = {}, ["x"]
    if op == "Conv":
        weights["w"] = RNG.standard_normal((4, 3, *attrs["kernel_shape"])).astype(np.float32)
        reads.append("w")
    nodes = [node(before, ["input"], "x"), node(op, reads, "y", **attrs)]
    return model_of(nodes, weights, inputs={"input": ["N", 3, *size], "message": ["N", 3, *size]}, outputs=["y"])


def shared(proto: onnx.ModelProto, x: NDArray[Any], m: NDArray[Any], *, derivative: bool = False) -> NDArray[Any]:
    """Return what a walk hands back where the operator's own rule hands back ``m``."""
    model = load(proto)
    emitter = Emitter(model)
    record = next(iter(tape_between(emitter, sources=["x"], output="y")))

    def rule(record: Record, given: tuple[Value | None, ...]) -> list[Value | None]:
        return [emitter.value("message"), *[None] * (len(record.inputs) - 1)]

    found = in_cells(rule, derivative=derivative)(record, (emitter.value("y"),))[0]
    assert found is not None
    emitter.output("shared", found)
    return Session(emitter.build(inputs=["input", "message"])).run({"input": x, "message": m})["shared"]


def by_loops(x: NDArray[Any], m: NDArray[Any], cell: Cell, *, evenly: bool) -> NDArray[Any]:
    """Share each cell's sum of ``m`` by what ``x`` has above 0 there, evenly where it has nothing."""
    result = np.zeros(m.shape, np.float64)
    rows, columns = (range(0, s, c) for s, c in zip(m.shape[2:], cell, strict=True))
    for n, c, i, j in itertools.product(range(m.shape[0]), range(m.shape[1]), rows, columns):
        place = (n, c, slice(i, i + cell[0]), slice(j, j + cell[1]))
        total, parts = m[place].astype(np.float64).sum(), np.maximum(x[place], 0).astype(np.float64)
        result[place] = total / parts.size if evenly or not parts.any() else total * parts / parts.sum()
    return result


def inputs(count: int = 3, size: Cell = (7, 9)) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw what lies in the cells, some of them with nothing above 0, and messages of both signs."""
    x = RNG.standard_normal((count, 3, *size)).astype(np.float32)
    x[0, :, :4, :4] = -1
    return x, RNG.standard_normal(x.shape).astype(np.float32)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("before", ["Relu", "Tanh"])
def test_a_share_lies_where_the_activations_of_its_cell_do_and_a_maximums_evenly(window: str, before: str) -> None:
    op, attrs, cell = WINDOWS[window]
    x, m = inputs()
    seen = np.maximum(x, 0) if before == "Relu" else np.tanh(x)
    found, evenly = shared(one_window(op, attrs, before=before), x, m), op == "MaxPool"
    np.testing.assert_allclose(found, by_loops(seen, m, cell, evenly=evenly), rtol=1e-5, atol=1e-6)
    for other, even in ((seen * 1.01 + 0.01, evenly), (seen, not evenly)):
        if not (evenly and even):
            with pytest.raises(AssertionError):
                np.testing.assert_allclose(found, by_loops(other, m, cell, evenly=even), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_derivative_is_shared_evenly(window: str) -> None:
    op, attrs, cell = WINDOWS[window]
    x, m = inputs()
    found = shared(one_window(op, attrs), x, m, derivative=True)
    np.testing.assert_allclose(found, by_loops(x, m, cell, evenly=True), rtol=1e-5, atol=1e-6)


def test_at_the_input_a_share_is_even_through_linear_preprocessing() -> None:
    op, attrs, cell = WINDOWS["3 x 3, stride 2, padded"]
    x, m = inputs()
    found = shared(one_window(op, attrs, before="Identity"), x, m)
    np.testing.assert_allclose(found, by_loops(x, m, cell, evenly=True), rtol=1e-5, atol=1e-6)


def test_at_the_input_a_patch_is_a_cell() -> None:
    attrs = {"kernel_shape": [3, 3], "strides": [3, 3]}
    x, m = inputs()
    found = shared(one_window("Conv", attrs, before="Identity"), x, m)
    np.testing.assert_allclose(found, by_loops(x, m, (3, 3), evenly=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_sums_over_every_cell_stay_at_any_scale(scale: float) -> None:
    op, attrs, (rows, columns) = WINDOWS["5 x 3, strides 3 and 2"]
    x, m = inputs(size=(9, 8))
    found = shared(one_window(op, attrs, size=(9, 8)), x, (m * scale).astype(np.float32))
    sums = [v.reshape(3, 3, 9 // rows, rows, 8 // columns, columns).sum((3, 5)) for v in (found, m * scale)]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [*itertools.product((1, 2, 3, 4, 6, 7), (1, 2, 3), (1, 2, 3))]
)
def test_windows_read_evenly_where_counting_says_so(kernel: int, stride: int, dilation: int) -> None:
    """Counted over many windows, away from the ends."""
    count = np.zeros(400, int)
    for start in range(0, 300, stride):
        count[start + dilation * np.arange(kernel)] += 1
    middle = count[60:240]
    assert reads_evenly(kernel, stride, dilation) == (middle.min() == middle.max())


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Conv", {"kernel_shape": [3, 3]}),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [3, 3]}),
    ],
)
def test_windows_that_tile_evenly_are_left_alone(op: str, attrs: dict[str, Any]) -> None:
    model = load(one_window(op, attrs))
    emitter = Emitter(model)
    assert cell_of(next(iter(tape_between(emitter, sources=["x"], output="y")))) == (1, 1)
    x, m = inputs()
    np.testing.assert_array_equal(shared(one_window(op, attrs), x, m), m)


def strided_net() -> onnx.ModelProto:
    """Build a net as ResNets begin: a strided convolution, an overlapping pool, a block with a strided shortcut."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> NDArray[Any]:
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    weights = {
        "stem.w": weight(6, 3, 3, 3), "stem.b": weight(6, 3)[:, 0], "a.w": weight(8, 6, 3, 3),
        "a.b": weight(8, 3)[:, 0], "s.w": weight(8, 6, 1, 1), "fc.w": weight(5, 8), "fc.b": weight(5, 3)[:, 0],
    }  # fmt: skip
    strided = {"strides": [2, 2], "kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["input", "stem.w", "stem.b"], "stem", **strided),
        node("Relu", ["stem"], "stem_relu"),
        node("MaxPool", ["stem_relu"], "pool", **strided),
        node("Conv", ["pool", "a.w", "a.b"], "a", **strided),
        node("Conv", ["pool", "s.w"], "s", kernel_shape=[1, 1], strides=[2, 2]),
        node("Add", ["a", "s"], "sum"),
        node("Relu", ["sum"], "base"),
        node("GlobalAveragePool", ["base"], "gap"),
        node("Flatten", ["gap"], "flat"),
        node("Gemm", ["flat", "fc.w", "fc.b"], "logits", transB=1),
    ]
    return model_of(nodes, weights, inputs={"input": ["N", 3, 29, 34]}, outputs=["logits"])


WALKS: dict[str, dict[str, Any]] = {
    "auto": {"method": "auto"},
    "fgcam": {"method": "fgcam"},
    "lrp": {"method": "lrp"},
    "lrp, gamma and box": {"method": "lrp", "composite": "epsilongammabox"},
    "deeptaylor": {"method": "deeptaylor"},
    "guidedbackprop": {"method": "guidedbackprop"},
    "inputxgradient": {"method": "inputxgradient", "layers": "stem_relu"},
    "saliency": {"method": "saliency"},
    "smoothgrad": {"method": "smoothgrad", "samples": 3},
    "integratedgradients": {"method": "integratedgradients", "steps": 3},
}


@pytest.mark.parametrize("walk", WALKS)
def test_every_walk_takes_the_setting_and_changes_by_it(walk: str) -> None:
    x = np.random.default_rng(8).standard_normal((2, 3, 29, 34)).astype(np.float32)
    options = {"target": 1, **WALKS[walk]}
    with_cells, without = (fgcam_onnx.explain(strided_net(), x, cells=c, **options).map for c in (True, False))
    assert np.abs(with_cells - without).max() > 1e-3 * np.abs(without).max()


@pytest.mark.parametrize("walk", ["auto", "fgcam", "lrp", "lrp, gamma and box", "deeptaylor"])
def test_sums_of_maps_and_conservation_stay(walk: str) -> None:
    """The rules below a cell get other shares, so only what those conserve is the same: everything at one layer."""
    x = np.random.default_rng(8).standard_normal((2, 3, 29, 34)).astype(np.float32)
    shown = {"lowpass": 0, "guided": False} if walk == "auto" else {}
    options = {"target": 1, **WALKS[walk], **shown, "layers": "pool"}
    with_cells, without = (fgcam_onnx.explain(strided_net(), x, cells=c, **options) for c in (True, False))
    assert np.abs(with_cells.map - without.map).max() > 1e-3 * np.abs(without.map).max()
    scale = np.abs(without.map).sum((1, 2))
    np.testing.assert_allclose(with_cells.map.sum((1, 2)) / scale, without.map.sum((1, 2)) / scale, rtol=0, atol=1e-6)
    np.testing.assert_allclose(with_cells.conservation["pool"], without.conservation["pool"], rtol=1e-5, atol=0)


def test_at_the_input_each_cell_has_one_value_and_no_grid_is_left() -> None:
    x = np.random.default_rng(8).standard_normal((8, 3, 29, 34)).astype(np.float32)
    fine = fgcam_onnx.explain(strided_net(), x, target=1, cells=True).map
    np.testing.assert_allclose(fine[:, 0::2][:, :14], fine[:, 1::2], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(fine[:, :, 0::2], fine[:, :, 1::2], rtol=1e-5, atol=1e-9)
    published = fgcam_onnx.explain(strided_net(), x, target=1).map[:, :28]
    dots = np.maximum(published, 0).reshape(8, 14, 2, 17, 2).mean((0, 1, 3))
    assert dots.max() > 1.5 * dots.min()
