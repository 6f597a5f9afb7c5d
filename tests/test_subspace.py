"""Leading singular directions by products and loops, against NumPy's singular value decomposition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundled import first_pictures

import fgcam_onnx
from fgcam_onnx.fgcam import denoise
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.loops import repeated
from fgcam_onnx.methods import BASES
from fgcam_onnx.methods.cams import find_components
from fgcam_onnx.program import TARGET
from fgcam_onnx.runtime import Session
from fgcam_onnx.subspace import leading_directions, leading_part, tournament


def svd_part(x: np.ndarray, rank: int) -> np.ndarray:
    u, s, v = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    return (u[..., :rank] * s[:, None, :rank]) @ v[:, :rank]


def off(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference of any image, relative to its largest value."""
    scale = np.abs(wanted).max((1, 2))
    return float((np.abs(found - wanted).max((1, 2)) / scale).max())


def with_values(values: np.ndarray, rows: int, *, seed: int) -> np.ndarray:
    """Return a matrix (1, rows, len(values)) of these singular values."""
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.standard_normal((rows, len(values))))
    v, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return ((u * values) @ v.T).astype(np.float32)[None]


@pytest.mark.parametrize("size", [2, 4, 6, 18, 46])
def test_in_a_tournament_everybody_meets_everybody_once(size: int) -> None:
    players, met = np.arange(size), []
    for _ in range(size - 1):
        met += [tuple(sorted(pair)) for pair in players.reshape(-1, 2).tolist()]
        players = players[tournament(size)]
    assert len(met) == len(set(met)) == size * (size - 1) // 2


@pytest.mark.parametrize("shape", [(2, 9, 4), (1, 3, 5), (2, 1, 6), (1, 64, 49), (1, 40, 200), (2, 7, 7), (1, 2, 2)])
def test_the_part_is_that_of_a_singular_value_decomposition(shape: tuple[int, ...]) -> None:
    """Noise falls slowly, which is the hard case: 3e-4 here, and 1e-5 where values fall as those of components do."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rank = max(1, min(shape[1:]) // 10)
    assert off(leading_part(x, rank), svd_part(x, rank)) <= 1e-3
    falling = with_values(0.8 ** np.arange(min(shape[1:])), max(shape[1:]), seed=1)
    for turned in (falling, falling.transpose(0, 2, 1)):
        assert off(leading_part(turned, rank), svd_part(turned, rank)) <= 1e-5


def test_directions_are_orthonormal_and_their_number_is_the_rank() -> None:
    x = np.random.default_rng(1).standard_normal((3, 64, 49)).astype(np.float32)
    w = leading_directions(x, 4)
    gram = w @ w.transpose(0, 2, 1)
    np.testing.assert_allclose(np.trace(gram, axis1=1, axis2=2), 4, rtol=1e-5, atol=0)
    np.testing.assert_allclose(gram @ gram, gram, rtol=0, atol=1e-5)


def test_zeros_and_fewer_directions_than_wanted_are_no_trouble() -> None:
    zeros = np.zeros((1, 32, 25), np.float32)
    np.testing.assert_array_equal(leading_part(zeros, 2), zeros)
    one = np.outer(np.arange(32), np.arange(25) - 12).astype(np.float32)[None]
    assert off(leading_part(one, 2), one) <= 1e-5


def test_values_far_below_the_largest_are_wrong_by_no_more_than_their_own_size() -> None:
    """The Gram matrix in float32 holds no more: values of 1/1000 are as large as its rounding."""
    steep = with_values(np.r_[1000, 0.98 ** np.arange(63)], 128, seed=2)
    assert off(leading_part(steep, 6), svd_part(steep, 6)) <= 2e-3


def test_with_no_gap_anywhere_the_part_is_not_that_of_the_decomposition() -> None:
    """Negative control, and the limit that the documentation names: 58 of 64 values equal, five percent below."""
    flat = with_values(np.r_[np.linspace(1.1, 1.05, 6), np.ones(58)], 128, seed=3)
    assert off(leading_part(flat, 6), svd_part(flat, 6)) > 1e-2


@pytest.mark.parametrize("net", ["vgg_shapes.dynamo", "vgg_shapes.keras", "resnet_shapes.dynamo"])
def test_denoising_of_real_components_agrees_to_a_few_millionths(bundled: Path, net: str) -> None:
    explainer = fgcam_onnx.Explainer(bundled / f"{net}.onnx")
    options, _ = explainer.options()
    x = first_pictures(bundled, net, 4)
    found = find_components(options, BASES["gradcam"], [options.base_layer])(
        {explainer.input: x, TARGET: np.full(4, -1)}
    )
    components = np.moveaxis(found["fgcam/components/0"], options.base_layer.channel_axis, 1)
    flat = components.reshape(*components.shape[:2], -1)
    rank = max(1, int(0.1 * min(flat.shape[1:])))
    wanted = denoise(components).reshape(flat.shape)
    assert off(leading_part(flat - flat.mean(axis=2, keepdims=True), rank), wanted) <= 2e-5


def test_the_graph_computes_what_the_arrays_do(bundled: Path) -> None:
    """The same formula on values; the model is only there to be appended to."""
    emitter = Emitter(fgcam_onnx.load(bundled / "vgg_shapes.dynamo.onnx"))
    given = emitter.input("x", np.float32, ("N", 24, 17))
    emitter.output("y", leading_part(given, 1))
    program = emitter.build()
    x = np.random.default_rng(4).standard_normal((3, 24, 17)).astype(np.float32)
    np.testing.assert_allclose(Session(program).run({"x": x})["y"], leading_part(x, 1), rtol=0, atol=2e-4)
    assert [n.op_type for n in program.nodes].count("Loop") == 2


def test_a_loop_reads_from_outside_and_inside_another_and_hands_its_state_on(bundled: Path) -> None:
    def inner(total: object, by: object) -> tuple[object, object]:
        return total + by, by  # type: ignore[operator]

    def outer(x: object, total: object) -> tuple[object, object]:
        return x, repeated(inner, total, x, times=3)[0]

    x = np.arange(4, dtype=np.float32)[None]
    emitter = Emitter(fgcam_onnx.load(bundled / "vgg_shapes.dynamo.onnx"))
    given = emitter.input("x", np.float32, ("N", 4))
    emitter.output("y", repeated(outer, given, given * 2.0, times=2)[1])
    np.testing.assert_array_equal(Session(emitter.build()).run({"x": x})["y"], x * 8)
    np.testing.assert_array_equal(repeated(outer, x, x * 2, times=2)[1], x * 8)
