"""Canonical forms: the same function written differently has the same relevance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, inserted, model_of, node, small_cnn, small_weights
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

import fgcam_onnx
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.tape import tape_between
from fgcam_onnx.imaging import find_sidecar, preprocess_from
from fgcam_onnx.loading.loading import load
from fgcam_onnx.lrp.canonize import canonized
from fgcam_onnx.lrp.rules import Shifted
from fgcam_onnx.runtime import Session


def normalized(form: str) -> Any:
    """Return a small net whose second convolution is followed by a scale and shift, written in one of several forms."""
    rng = np.random.default_rng(3)
    scale, shift, mean = (rng.standard_normal(16).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.5, 2, 16).astype(np.float32)
    factor = (scale / np.sqrt(variance + 1e-5)).astype(np.float32)
    constant = (shift - mean * factor).astype(np.float32)
    weights = small_weights()
    after = "/layer2/conv/Conv_output_0"
    column = (16, 1, 1)
    if form == "folded":
        weights["layer2.conv.weight"] = weights["layer2.conv.weight"] * factor[:, None, None, None]
        weights["layer2.conv.bias"] = weights["layer2.conv.bias"] * factor + constant
    extra = {
        "folded": ([], {}),
        "kept": (
            [node("BatchNormalization", [after, "s", "b", "m", "v"], "n")],
            {"s": scale, "b": shift, "m": mean, "v": variance},
        ),
        "arithmetic": (
            [node("Mul", [after, "f"], "k"), node("Add", ["c", "k"], "n")],
            {"f": factor.reshape(column), "c": constant.reshape(column)},
        ),
        "quotient": (
            [node("Sub", [after, "d"], "k"), node("Div", ["k", "q"], "n")],
            {"d": (-constant / factor).reshape(column), "q": (1 / factor).reshape(1, *column)},
        ),
    }[form]
    model = small_cnn()
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name].astype(np.float32).tobytes()
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in extra[1].items())
    return inserted(model, after, *extra[0], result="n") if extra[0] else model


@pytest.mark.parametrize("form", ["kept", "arithmetic", "quotient"])
@pytest.mark.parametrize("composite", ["alpha2beta1", "epsilongammabox", "epsilonplusflat"])
def test_a_normalization_is_seen_as_part_of_the_convolution_before_it(form: str, composite: str) -> None:
    x = images()
    folded, kept = (
        fgcam_onnx.explain(normalized(f), x, target=1, method="lrp", composite=composite) for f in ("folded", form)
    )
    np.testing.assert_allclose(kept.scores, folded.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kept.map, folded.map, rtol=0, atol=2e-5 * np.abs(folded.map).max())


@pytest.mark.parametrize("exporter", ["dynamo", "jax", "keras", "paddle"])
def test_the_same_net_from_another_exporter_has_the_same_relevance(bundled: Path, exporter: str) -> None:
    maps = []
    for name in ("torchscript", exporter):
        path = bundled / f"vgg_shapes.{name}.onnx"
        sidecar = find_sidecar(path)
        assert sidecar is not None
        spec = load(path).inputs[0]
        x = preprocess_from(sidecar).bound(spec.shape, spec.dtype)(
            Image.open(bundled / "pictures" / "two.png").convert("RGB")
        )
        maps.append(fgcam_onnx.explain(path, x, target=3, method="lrp", composite="epsilonalpha2beta1").map)
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=1e-4 * np.abs(maps[0]).max())


def test_fgcams_published_rules_see_normalizations_as_the_file_has_them() -> None:
    """Negative control: where nothing is merged, the two forms have different maps."""
    folded, kept = (fgcam_onnx.explain(normalized(f), images(), target=1).map for f in ("folded", "kept"))
    assert np.abs(folded - kept).max() > 1e-2 * np.abs(folded).max()


def merged_records(nodes: list[Any], weights: dict[str, Any], shape: list[Any]) -> list[Any]:
    model = load(model_of(nodes, weights, inputs={"x": shape}, outputs=["y"]))
    return list(canonized(tape_between(Emitter(model), sources=["x"], output="y")))


def whole_map(nodes: list[Any], weights: dict[str, Any], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the output of the operators, and of the merged record computed from its parts."""
    model = load(model_of(nodes, weights, inputs={"x": [None, *x.shape[1:]]}, outputs=["y"]))
    emitter = Emitter(model)
    (record,) = canonized(tape_between(emitter, sources=["x"], output="y"))
    assert isinstance(record, Shifted)
    assert record.shift is not None
    emitter.output("merged", record.replay(record.inputs).output + record.shift)
    emitter.output("y", emitter.value("y"))
    found = Session(emitter.build()).run({"x": x})
    np.testing.assert_allclose(found["merged"], found["y"], rtol=1e-4, atol=1e-5)
    return found["y"]


RNG = np.random.default_rng(11)
NORM = {n: RNG.uniform(0.5, 1.5, 4).astype(np.float32) for n in "sbmv"}


def drawn(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


CHAINS: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...]]] = {
    "Conv, BatchNormalization, Mul, Add": (
        [
            node("Conv", ["x", "w", "c"], "h", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["h", *"sbmv"], "n"),
            node("Mul", ["n", "two"], "k"),
            node("Add", ["k", "p"], "y"),
        ],
        {"w": drawn(4, 3, 3, 3), "c": drawn(4), "two": np.float32(2), "p": drawn(4, 1, 1), **NORM},
        (3, 5, 5),
    ),
    "grouped ConvTranspose, BatchNormalization": (
        [
            node("ConvTranspose", ["x", "w", "c"], "h", group=2, strides=[2, 2]),
            node("BatchNormalization", ["h", *"sbmv"], "y"),
        ],
        {"w": drawn(6, 2, 3, 3), "c": drawn(4), **NORM},
        (6, 4, 4),
    ),
    "Gemm, BatchNormalization": (
        [
            node("Gemm", ["x", "w", "c"], "h", transB=1, alpha=0.5, beta=3.0),
            node("BatchNormalization", ["h", *"sbmv"], "y"),
        ],
        {"w": drawn(4, 6), "c": drawn(4), **NORM},
        (6,),
    ),
    "MatMul, Add": (
        [node("MatMul", ["x", "w"], "h"), node("Add", ["c", "h"], "y")],
        {"w": drawn(6, 4), "c": drawn(4)},
        (5, 6),
    ),
    "BatchNormalization, Conv without padding": (
        [node("BatchNormalization", ["x", *"sbmv"], "n"), node("Conv", ["n", "w", "c"], "y", strides=[2, 2])],
        {"w": drawn(5, 4, 3, 3), "c": drawn(5), **NORM},
        (4, 7, 7),
    ),
    "BatchNormalization, Gemm": (
        [
            node("BatchNormalization", ["x", *"sbmv"], "n"),
            node("Gemm", ["n", "w", "c"], "y", alpha=0.5, beta=3.0),
        ],
        {"w": drawn(4, 6), "c": drawn(6), **NORM},
        (4,),
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_of_linear_operators_merges_to_one_that_computes_the_same(chain: str) -> None:
    nodes, weights, shape = CHAINS[chain]
    whole_map(nodes, weights, drawn(2, *shape))


STAY: dict[str, list[Any]] = {
    "a shift before padding": [
        node("BatchNormalization", ["x", *"sbmv"], "n"),
        node("Conv", ["n", "w"], "y", pads=[1, 1, 1, 1]),
    ],
    "two readers": [
        node("Conv", ["x", "w"], "h", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["h", *"sbmv"], "n"),
        node("Add", ["n", "h"], "y"),
    ],
    "a scale that differs over space": [
        node("Conv", ["x", "w"], "h", pads=[1, 1, 1, 1]),
        node("Mul", ["h", "map"], "y"),
    ],
    "an activation between": [
        node("Conv", ["x", "w"], "h", pads=[1, 1, 1, 1]),
        node("Relu", ["h"], "a"),
        node("BatchNormalization", ["a", *"sbmv"], "y"),
    ],
}


@pytest.mark.parametrize("case", STAY)
def test_operators_stay_apart_where_merging_would_change_the_function(case: str) -> None:
    weights = {"w": drawn(4, 4, 3, 3), "map": drawn(1, 1, 5, 5), **NORM}
    records = merged_records(STAY[case], weights, ["N", 4, 5, 5])
    assert [r.op for r in records] == [n.op_type for n in STAY[case]]
    assert not any(isinstance(r, Shifted) for r in records)


def test_a_layer_that_is_asked_for_is_not_merged_away() -> None:
    e = fgcam_onnx.explain(
        normalized("kept"), images(), method="lrp", layers=["/layer2/conv/Conv_output_0", "n", "input"]
    )
    assert len(e.maps) == 3
