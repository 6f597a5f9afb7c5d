"""Graphs inside operators: an If that is settled while loading is gone; one that is not is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from nets import BASE, images, model_of, node, small_cnn, small_nodes, small_weights
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from plain import run_plainly

from fgcam_onnx import Explainer, explain, load
from fgcam_onnx.errors import UnsupportedOperatorError

HEAD = ("GlobalAveragePool", "Flatten", "Gemm")

BY_VALUE = [node("ReduceMean", ["input"], "mean_of_all", keepdims=0), node("Greater", ["mean_of_all", "zero"], "cond")]
BY_HEIGHT = [node("Shape", ["input"], "s"), node("Gather", ["s", "two"], "h"), node("Greater", ["h", "eleven"], "cond")]
NUMBERS = {"zero": np.float32(0), "two": np.array(2), "eleven": np.array(11)}


def graph(nodes: Sequence[NodeProto], result: str, **constants: Any) -> GraphProto:
    info = onnx.ValueInfoProto(name=result, type=helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return helper.make_graph(
        list(nodes), result, [], [info], [numpy_helper.from_array(a, n) for n, a in constants.items()]
    )


def choosing(
    before: Sequence[NodeProto] = (), *, opset: int = 18, size: tuple[Any, Any] = (12, 10), **weights: Any
) -> ModelProto:
    """Build the small net with the pooling chosen by ``cond``: the mean times two, or the plain mean."""
    axes = [] if opset < 18 else [node("Constant", [], "axes", value_ints=[2, 3])]
    mean = (
        node("ReduceMean", [BASE], "mean", axes=[2, 3], keepdims=0)
        if opset < 18
        else node("ReduceMean", [BASE, "axes"], "mean", keepdims=0)
    )
    then = graph([*axes, mean, node("Mul", ["mean", "double"], "twice")], "twice", double=np.float32([[2]]))
    other = graph([node("GlobalAveragePool", [BASE], "gap"), node("Flatten", ["gap"], "once")], "once")
    choice = node("If", ["cond"], "pooled", then_branch=then, else_branch=other)
    nodes = [n for n in small_nodes() if n.op_type not in HEAD]
    nodes += [*before, choice, node("Gemm", ["pooled", "fc.weight", "fc.bias"], "logits", transB=1)]
    return model_of(
        nodes, {**small_weights(), **weights}, inputs={"input": ["N", 3, *size]}, outputs=["logits"], opset=opset
    )


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize("cond", [True, False, "by height"])
def test_an_if_whose_condition_is_constant_is_the_branch_that_it_takes(opset: int, cond: bool | str) -> None:
    model = (
        choosing(BY_HEIGHT, opset=opset, **NUMBERS)
        if cond == "by height"
        else choosing(opset=opset, cond=np.array(cond))
    )
    loaded = load(model)
    assert not {"If", "Shape", "Greater"} & {n.op_type for n in loaded.nodes}
    x = images()
    found, plain = explain(loaded, x, target=1), explain(small_cnn(), x, target=1)
    np.testing.assert_allclose(found.scores, run_plainly(model, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.map, plain.map * (2 if cond else 1), rtol=1e-4, atol=1e-7)


def test_an_if_inside_an_if_is_settled_too() -> None:
    inner = graph([node("Neg", ["logits"], "a")], "a"), graph([node("Identity", ["logits"], "b")], "b")
    nested = node("If", ["cond"], "chosen", then_branch=inner[0], else_branch=inner[1])
    outer = graph([nested], "chosen"), graph([node("Identity", ["logits"], "c")], "c")
    nodes = [*small_nodes(), node("If", ["cond"], "output", then_branch=outer[0], else_branch=outer[1])]
    weights = {**small_weights(), "cond": np.array(True)}
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"])
    assert "If" not in {n.op_type for n in load(model).nodes}
    np.testing.assert_allclose(explain(model, images()).scores, run_plainly(model, images()), rtol=1e-5, atol=1e-6)


def test_an_if_that_hangs_on_the_size_is_settled_when_the_size_comes() -> None:
    free = Explainer(choosing(BY_HEIGHT, size=("H", "W"), **NUMBERS))
    for size, factor in (((12, 10), 2), ((9, 10), 1)):
        plain = explain(small_cnn(size=size), images(size=size), target=1)
        np.testing.assert_allclose(free(images(size=size), target=1).map, plain.map * factor, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["fgcam", "gradcam", "relevancecam"])
def test_an_if_that_hangs_on_the_values_is_refused_with_what_to_do(method: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"'If' \(node 'pooled'\).*after it"):
        explain(choosing(BY_VALUE, **NUMBERS), images(), method=method, base_layer=BASE)


def test_an_if_beside_the_path_is_no_silent_loss() -> None:
    """What flows through the other branch of the sum must not pass for the whole gradient."""
    branches = [graph([node(op, ["logits"], r)], r) for op, r in (("Relu", "a"), ("Neg", "b"))]
    choice = node("If", ["cond"], "chosen", then_branch=branches[0], else_branch=branches[1])
    nodes = [*small_nodes(), *BY_VALUE, choice, node("Add", ["logits", "chosen"], "output")]
    weights = {**small_weights(), **NUMBERS}
    model = model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"])
    with pytest.raises(UnsupportedOperatorError, match="'If'"):
        explain(model, images(), method="gradcam")


def looping(first: str, *sizes: int) -> ModelProto:
    """Double ``first`` in a Loop until its number is 3, shape it as it was, and add the logits."""
    scalar, vector = helper.make_tensor_value_info, onnx.ValueInfoProto
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    body = helper.make_graph(
        [node("Less", ["i", "last"], "again"), node("Add", ["v", "v"], "w")],
        "body",
        [scalar("i", TensorProto.INT64, []), scalar("go", TensorProto.BOOL, []), vector(name="v", type=kind)],
        [scalar("again", TensorProto.BOOL, []), vector(name="w", type=kind)],
    )
    weights = {
        **small_weights(),
        "count": np.array(9),
        "last": np.array(2),
        "yes": np.array(True),
        "one": np.float32([1]),
    }
    weights["sizes"] = np.array(sizes)
    loop = node("Loop", ["count", "yes", first], "grown", body=body)
    nodes = [*small_nodes(), loop, node("Reshape", ["grown", "sizes"], "shaped")]
    nodes.append(node("Add", ["logits", "shaped"], "output"))
    return model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"])


def test_a_loop_on_the_path_is_refused_and_one_beside_it_is_not() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"'Loop' \(node 'grown'\)"):
        explain(looping("logits", -1, 5), images(), base_layer=BASE)
    x = images()
    found, plain = explain(looping("one", 1), x, target=1), explain(small_cnn(), x, target=1)
    np.testing.assert_allclose(found.scores, plain.scores + 8, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.map, plain.map, rtol=0, atol=1e-5 * np.abs(plain.map).max())
