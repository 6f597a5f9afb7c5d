"""Chains of operators that do nothing cost nothing, and what has to keep its name keeps it."""

from __future__ import annotations

import numpy as np
import onnxruntime
from nets import images, model_of, node, small_nodes, small_weights
from onnx import ModelProto, TensorProto, helper

import fgcam_onnx
from fgcam_onnx.loading.loading import load
from fgcam_onnx.runtime import Session

LENGTH = 20_000


def chained(length: int, *, outputs: tuple[str, ...] = ("logits",)) -> ModelProto:
    """Return the small net with ``length`` Identity operators, i0 on, between its first two layers."""
    first, *rest = small_nodes()[1:]
    chain = [node("Identity", [f"i{i - 1}" if i else first.output[0]], f"i{i}") for i in range(length)]
    rest[0].input[0] = f"i{length - 1}"
    return model_of(
        [small_nodes()[0], first, *chain, *rest], small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=outputs
    )


def test_a_chain_of_identities_is_one() -> None:
    model, x = load(chained(LENGTH)), images(2)
    assert [n.op_type for n in model.nodes].count("Identity") == 1
    plain = fgcam_onnx.Explainer(
        model_of(small_nodes(), small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"]),
        method="gradcam",
        threads=1,
    )(x)
    found = fgcam_onnx.Explainer(model, method="gradcam", threads=1)(x)
    np.testing.assert_array_equal(found.scores, plain.scores)
    np.testing.assert_array_equal(found.map, plain.map)


def test_an_output_within_a_chain_keeps_its_name_and_value() -> None:
    proto, x = chained(9, outputs=("logits", "i4", "i8")), images(2)
    wanted = onnxruntime.InferenceSession(proto.SerializeToString()).run(["logits", "i4", "i8"], {"input": x})
    found = Session(load(proto), threads=1).run({"input": x})
    for name, array in zip(("logits", "i4", "i8"), wanted, strict=True):
        np.testing.assert_array_equal(found[name], array)


def test_what_is_read_inside_another_operator_keeps_its_name() -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["inner"])],
        "b",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["b"], ["other"])],
        "o",
        [],
        [helper.make_tensor_value_info("other", TensorProto.FLOAT, None)],
    )
    nodes = [
        *(node("Identity", [i], o) for i, o in ("xa", "ab", "bc", "cd")),
        node("ReduceSum", ["d"], "s", keepdims=0),
        node("Greater", ["s", "zero"], "positive"),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch, else_branch=other),
    ]
    proto = model_of(nodes, {"zero": np.array(0, np.float32)}, inputs={"x": ["N", 3]}, outputs=["y"])
    x = np.arange(6, dtype=np.float32).reshape(2, 3) - 1
    for sign in (1, -1):
        found = Session(load(proto), threads=1).run({"x": sign * x})["y"]
        np.testing.assert_array_equal(found, -x)
