"""Masks are written another way for the processor: faster, the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from bundled import MODELS, first_pictures
from plain import same

import fgcam_onnx
from fgcam_onnx import runtime
from fgcam_onnx.graph.emitter import Emitter
from fgcam_onnx.graph.model import Model
from fgcam_onnx.loading.loading import load
from fgcam_onnx.runtime import Session
from fgcam_onnx.surgery.masks import masked_by_products

METHODS = ("fgcam", "relevancecam", "saliency", "lrp", "gradcam")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("file", MODELS)
def test_a_program_gives_what_it_gives_as_it_is_written(
    bundled: Path, file: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = first_pictures(bundled, file.removesuffix(".onnx"), 3)
    x[0, :, 20:60, 20:60] = 0  # flat and black: denominators that are 0
    found = fgcam_onnx.Explainer(bundled / file, method=method, layers="input")(x)
    monkeypatch.setattr(runtime, "masked_by_products", lambda m: m)
    same(found, fgcam_onnx.Explainer(bundled / file, method=method, layers="input")(x), tolerance=2e-6)


def dead() -> Model:
    """Return a net of which half of the channels, and so many denominators, are 0."""
    text = """
    <ir_version: 9, opset_import: ["": 18]>
    net (float[n,2,6,6] x) => (float[n,3] y) <float[4,2,3,3] w, float[3,4] v> {
        c = Conv<pads=[1,1,1,1]>(x, w)
        r = Relu(c)
        g = GlobalAveragePool(r)
        f = Flatten<axis=1>(g)
        y = Gemm<transB=1>(f, v)
    }"""
    proto, rng = onnx.parser.parse_model(text), np.random.default_rng(0)
    w, v = rng.normal(size=(4, 2, 3, 3)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    w[1::2] = 0
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(v, "v")])
    return load(proto)


def test_what_is_divided_by_0_becomes_0() -> None:
    x = np.random.default_rng(1).normal(size=(2, 2, 6, 6)).astype(np.float32)
    x[:, :, :3] = 0
    emitter = Emitter(dead())
    picture, r = abs(emitter.value("x")), emitter.input("given", np.float32, ("n", 4, 6, 6))
    z = emitter.emit("Conv", picture, abs(emitter.value("w")), pads=[1, 1, 1, 1])
    emitter.output("part", np.where(z < 1e-30, 0, r / z) * z)
    emitter.output("whole", z)
    program = emitter.build()
    given = np.random.default_rng(2).normal(size=(2, 4, 6, 6)).astype(np.float32)
    found = Session(program, threads=1).run({"x": x, "given": given})
    assert 0.2 < (found["whole"] == 0).mean() < 0.9
    np.testing.assert_allclose(found["part"], np.where(found["whole"] == 0, 0, given), rtol=1e-5, atol=0)


def test_a_quotient_of_the_model_s_own_stays() -> None:
    text = """
    <ir_version: 9, opset_import: ["": 18]>
    net (float[n,4] x) => (float[n,4] y) <float tiny = {1e-30}, float zero = {0}> {
        b = Less(x, tiny)
        q = Div(x, x)
        y = Where(b, zero, q)
    }"""
    model = load(onnx.parser.parse_model(text))
    assert masked_by_products(model) is model


@pytest.mark.parametrize(("op", "chooses"), [("Sqrt", True), ("Relu", False)])
def test_a_mask_is_a_product_where_what_it_masks_is_surely_finite(
    op: str, chooses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
    <ir_version: 9, opset_import: ["": 18]>
    net (float[n,4] x) => (float[n,4] y) {{
        r = Relu(x)
        y = {op}(r)
    }}"""
    model = load(onnx.parser.parse_model(text))
    x = np.array([[-1, 0, 4, 9]], np.float32)
    programs: list[Model] = []

    def seen(program: Model) -> Model:
        programs.append(masked_by_products(program))
        return programs[-1]

    monkeypatch.setattr(runtime, "masked_by_products", seen)
    values = fgcam_onnx.Explainer(model, method="saliency", layers="input")(x, target=2).map
    choices = [n for p in programs for n in p.nodes if n.op_type == "Where" and "/explain/" in n.name]
    assert bool(choices) is chooses
    np.testing.assert_allclose(values[0], [0, 0, 0.25 if op == "Sqrt" else 1, 0], rtol=1e-6)


def nets() -> dict[str, tuple[Model, np.ndarray]]:
    """Return nets whose maps hang on numbers that are no ordinary ones, and inputs."""
    rng = np.random.default_rng(3)
    attention = """
    <ir_version: 9, opset_import: ["": 18]>
    net (float[n,4,6] x) => (float[n,3] y) <float[6,6] q, float[6,6] k, float[6,6] v, float[6,3] w, bool[4,4] seen,
      float none = {-inf}, float zero = {0}> {
        a = MatMul(x, q)
        b = MatMul(x, k)
        bt = Transpose<perm=[0,2,1]>(b)
        s = MatMul(a, bt)
        masked = Where(seen, s, none)
        p = Softmax<axis=-1>(masked)
        safe = Where(seen, p, zero)
        u = MatMul(x, v)
        o = MatMul(safe, u)
        m = ReduceMean<keepdims=0>(o, axes)
        y = MatMul(m, w)
    }"""
    small = """
    <ir_version: 9, opset_import: ["": 18]>
    net (float[n,3,8,8] x) => (float[n,3] y) <float[6,3,3,3] a, float[5,6,3,3] b, float[5,3] w, float least = {1e-6}> {
        c = Conv<pads=[1,1,1,1]>(x, a)
        p = Softmax<axis=1>(c)
        d = Conv<strides=[2,2]>(p, b)
        e = Add(d, least)
        l = Log(e)
        g = GlobalAveragePool(l)
        f = Flatten<axis=1>(g)
        y = MatMul(f, w)
    }"""
    seen = np.tril(np.ones((4, 4), bool))
    seen[2] = False
    sparse = np.where(rng.random((5, 6, 3, 3)) < 0.2, rng.random((5, 6, 3, 3)), 0)
    values = {
        "attention": {"q": rng.normal(size=(6, 6)), "k": rng.normal(size=(6, 6)), "v": rng.normal(size=(6, 6)),
                      "w": rng.normal(size=(6, 3)), "seen": seen, "axes": np.array([1], np.int64)},
        "small": {"a": 9 * rng.normal(size=(6, 3, 3, 3)), "b": sparse, "w": rng.normal(size=(5, 3))},
    }  # fmt: skip
    found = {}
    for name, text, shape in (("attention", attention, (2, 4, 6)), ("small", small, (2, 3, 8, 8))):
        proto = onnx.parser.parse_model(text)
        given = {n: v.astype(np.float32) if v.dtype == np.float64 else v for n, v in values[name].items()}
        kept = [t for t in proto.graph.initializer if t.name not in given]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend([*kept, *(onnx.numpy_helper.from_array(v, n) for n, v in given.items())])
        found[name] = load(proto), rng.normal(size=shape).astype(np.float32)
    return found


@pytest.mark.parametrize(
    ("net", "method"),
    [("attention", "saliency"), ("attention", "inputxgradient"), ("small", "fgcam"), ("small", "lrp")],
)
def test_numbers_that_are_hardly_any_and_none_are_as_before(
    net: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = nets()[net]
    found = fgcam_onnx.Explainer(model, method=method, layers="input")(x, target=1)
    assert np.isfinite(found.map).all()
    monkeypatch.setattr(runtime, "masked_by_products", lambda m: m)
    same(found, fgcam_onnx.Explainer(model, method=method, layers="input")(x, target=1), tolerance=1e-5)
