"""What is no valid model is refused as such, whatever it would break: found by ``tools/fuzz``, each kind by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from exported import session
from nets import model_of, node, small_cnn, written
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.helper import make_attribute, make_graph, make_tensor_value_info

from fgcam_onnx import Explainer, export, load
from fgcam_onnx.errors import FgcamError, ModelError, TargetError, UnsupportedOperatorError
from fgcam_onnx.layers.places import first_along
from fgcam_onnx.runtime import accountable

IMAGE = {"input": ["N", 3, 8, 8]}
WEIGHT = {"w": np.ones((3, 2, 3, 3), np.float32), "narrow": np.ones((3, 2, 3), np.float32)}


def net(*nodes: NodeProto, **weights: Any) -> ModelProto:
    """Return a net of ``nodes``, the last of which makes ``y`` (N, C, h, w)."""
    ends = [node("GlobalAveragePool", ["y"], "mean"), node("Flatten", ["mean"], "logits")]
    return model_of([*nodes, *ends], weights, inputs=IMAGE, outputs=["logits"])


def pool(**attrs: Any) -> ModelProto:
    return net(node("MaxPool", ["input"], "y", **attrs))


def deconvolution(weight: str = "w", **attrs: Any) -> ModelProto:
    return net(node("ConvTranspose", ["input", weight], "y", **attrs), **{weight: WEIGHT[weight]})


UNFIT = {
    "a kernel of one axis": pool(kernel_shape=[2]),
    "strides of one axis": pool(kernel_shape=[2, 2], strides=[2]),
    "strides of three axes": pool(kernel_shape=[2, 2], strides=[2, 2, 2]),
    "a stride of 0": pool(kernel_shape=[2, 2], strides=[0, 1]),
    "pads of one end": pool(kernel_shape=[2, 2], pads=[1, 1]),
    "dilations of one axis": pool(kernel_shape=[2, 2], dilations=[2]),
    "padding that is no word of the standard": pool(kernel_shape=[2, 2], auto_pad="SAME"),
    "weights of another rank": deconvolution("narrow"),
    "output padding of one axis": deconvolution(output_padding=[1]),
    "scales of two axes": net(
        node("Resize", ["input", "", "s"], "y"), s=np.array([2, 2], np.float32)
    ),
}  # fmt: skip


@pytest.mark.parametrize("about", UNFIT)
def test_a_window_whose_lists_do_not_fit_the_tensor_is_refused(about: str) -> None:
    with pytest.raises(FgcamError):
        Explainer(UNFIT[about], method="inputxgradient", threads=1)


def test_the_same_windows_are_taken_where_the_lists_fit() -> None:
    """Negative control: what is refused is what does not fit."""
    for model in (
        pool(kernel_shape=[2, 2], strides=[2, 1], pads=[1, 0, 0, 1], dilations=[2, 1]),
        pool(kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        deconvolution(strides=[2, 2], output_padding=[1, 0]),
        net(node("Resize", ["input", "", "s"], "y"), s=np.array([1, 1, 2, 2], np.float32)),
    ):
        e = Explainer(model, method="inputxgradient", threads=1)
        assert e(np.ones((1, 3, 8, 8), np.float32)).map.shape == (1, 8, 8)


def test_a_word_of_an_attribute_that_is_not_text_is_refused(tmp_path: Path) -> None:
    model = pool(kernel_shape=[2, 2])
    model.graph.node[0].attribute.append(make_attribute("auto_pad", b"\xff\xfe"))
    with pytest.raises(ModelError, match="word of attribute 'auto_pad'"):
        load(written(model, tmp_path))


def test_an_input_that_no_memory_holds_is_refused() -> None:
    model = small_cnn()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**31 - 1
    with pytest.raises(ModelError):
        load(model)


def test_what_inference_leaves_open_and_the_runtime_refuses_is_the_files_fault() -> None:
    """Onnx does not look at the rank of what a Slice begins at, ONNX Runtime does."""
    slice_of = node("Slice", ["input", "starts", "ends", "axes"], "y")
    model = net(slice_of, starts=np.array([[0]]), ends=np.array([[4]]), axes=np.array([[2]]))
    with pytest.raises(ModelError, match="not valid ONNX: ONNX Runtime"), accountable(load(model)):
        _ = 1 / 0
    with pytest.raises(FgcamError, match="Starts must be a 1-D array"):
        Explainer(model, method="inputxgradient", threads=1)(np.zeros((1, 3, 8, 8), np.float32))


def test_scales_that_are_no_vector_are_read_as_the_runtime_reads_them() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    resize = node("Resize", ["input", "", "s"], "y", mode="linear")
    flat, square = (net(resize, s=np.array([1, 1, 1.5, 0.7], np.float32).reshape(s)) for s in ((4,), (2, 2)))
    wanted, found = (Explainer(m, method="inputxgradient", threads=1)(x, target=1).map for m in (flat, square))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("flag", [2, 3, -1])
def test_a_gemm_turns_its_operand_by_any_flag_but_0(flag: int) -> None:
    model = small_cnn(size=(8, 8))
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    wanted = Explainer(model, method="inputxgradient", threads=1)(x, target=1).map
    next(a for a in model.graph.node[-1].attribute if a.name == "transB").i = flag
    found = Explainer(model, method="inputxgradient", threads=1)(x, target=1).map
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)


def test_a_list_without_elements_is_refused_where_something_else_is_folded() -> None:
    """Graphsurgeon cannot write one, and inference says what is wrong with it."""
    model = net(
        node("Add", ["one", "one"], "two"),
        node("Mul", ["input", "two"], "twice"),
        node("MaxPool", ["twice"], "y", kernel_shape=[2, 2]),
        one=np.ones(1, np.float32),
    )
    load(model)
    model.graph.node[2].attribute.append(make_attribute("strides", [], attr_type=AttributeProto.INTS))
    with pytest.raises(ModelError, match="strides"):
        load(model)


def test_a_fault_of_ours_on_a_model_that_runs_stays_one() -> None:
    """Negative control: an exception is laid to the file only where the runtime does not run it."""
    model = load(small_cnn())
    with pytest.raises(ZeroDivisionError), accountable(model):
        _ = 1 / 0


def test_a_tensor_without_elements_has_no_places() -> None:
    nodes = [
        node("Slice", ["input", "zero", "zero", "axis"], "nothing"),
        node("Concat", ["input", "nothing"], "y", axis=2),
    ]
    model = net(*nodes, zero=np.array([0]), axis=np.array([2]))
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    found = Explainer(model, method="inputxgradient", threads=1)(x, target=1).map
    np.testing.assert_allclose(found, x[:, 1] / 64, rtol=1e-6, atol=1e-9)


def test_a_model_that_memory_does_not_hold_is_refused_by_that() -> None:
    with pytest.raises(FgcamError, match="not memory enough for the model: 4 GiB"), accountable(load(small_cnn())):
        raise MemoryError("4 GiB")


def test_the_first_labels_of_broadcast_places_take_no_memory() -> None:
    line = np.broadcast_to(np.arange(4, dtype=np.int32), (1, 2**20, 3, 4))
    for axis in (1, -3):
        assert np.shares_memory(first_along(line, axis), line)
        np.testing.assert_array_equal(first_along(line, axis), line[:, :1])


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize(
    "about", ["an initializer", "many numbers", "a weight", "a Constant", "folded", "a shape", "an input"]
)
def test_an_output_that_is_no_answer_is_given_on_and_not_explained(about: str, opset: int, tmp_path: Path) -> None:
    """Anchors of a detector lie beside its answers; the runtime's own outputs are what is given on."""
    whole, model = small_cnn(size=(8, 8), opset=opset, batch=2), small_cnn(size=(8, 8), opset=opset, batch=2)
    count = 3000 if about == "many numbers" else 4
    name = {"a weight": model.graph.initializer[0].name, "an input": "input"}.get(about, "anchors")
    anchors = numpy_helper.from_array(np.arange(2 * count * 4, dtype=np.float32).reshape(2, count, 4), "anchors")
    if about in ("an initializer", "many numbers"):
        model.graph.initializer.append(anchors)
    elif about in ("a Constant", "folded"):
        made = "before" if about == "folded" else "anchors"
        model.graph.node.append(node("Constant", [], made, value=anchors))
        model.graph.node.extend([node("Neg", ["before"], "anchors")] if about == "folded" else [])
    elif about == "a shape":
        model.graph.node.append(node("Shape", ["input"], "anchors"))
    kind = TensorProto.INT64 if about == "a shape" else TensorProto.FLOAT
    model.graph.output.add(name=name).type.tensor_type.elem_type = kind
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    explainer = Explainer(model, method="inputxgradient", threads=1)
    np.testing.assert_array_equal(explainer(x).map, Explainer(whole, method="inputxgradient", threads=1)(x).map)
    export(explainer, tmp_path / "explained.onnx")
    (wanted,) = session(written(model, tmp_path)).run([name], {"input": x})
    np.testing.assert_array_equal(session(tmp_path / "explained.onnx").run([name], {"input": x})[0], wanted)
    if about != "an input":
        with pytest.raises(TargetError, match=f"{name}' is a constant: there is nothing to explain"):
            Explainer(model, method="inputxgradient", output=name)


def test_a_model_of_which_every_output_is_a_constant_is_refused() -> None:
    model = small_cnn()
    model.graph.output[0].name = model.graph.initializer[0].name
    with pytest.raises(TargetError, match="is a constant: there is nothing to explain"):
        Explainer(model, method="gradcam")


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("Min", ["logits", ""], {}),
        ("Sum", ["", "logits"], {}),
        ("Concat", ["logits", "", "logits"], {"axis": 1}),
        ("Einsum", ["logits", ""], {"equation": "ab,bc->ac"}),
    ],
)
def test_a_gap_in_a_list_of_inputs_is_refused(op: str, inputs: list[str], attrs: dict[str, Any], inside: bool) -> None:
    """ONNX Runtime loads the file, and ends the process when it is run."""
    model = small_cnn()
    made = node(op, inputs, "out", **attrs)
    if inside:
        ends = [make_tensor_value_info("out", TensorProto.FLOAT, None)]
        other = make_graph([node("Neg", ["logits"], "out")], "else", [], ends)
        made = node("If", ["yes"], "out", then_branch=make_graph([made], "then", [], ends), else_branch=other)
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(made)
    model.graph.output[0].name = "out"
    with pytest.raises(ModelError, match=f"{op} .* leaves out one of its inputs"):
        load(model)


def test_inputs_that_may_be_left_out_are(tmp_path: Path) -> None:
    """Negative control: a bound of a Clip."""
    model = net(node("Clip", ["input", "", "top"], "y"), top=np.float32(0.5))
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    wanted = np.minimum(x, 0.5).mean((2, 3))
    np.testing.assert_allclose(Explainer(model, method="inputxgradient").predict(x), wanted, rtol=1e-5, atol=1e-6)


def test_an_element_type_of_a_branch_that_there_is_not_is_refused() -> None:
    model = small_cnn()
    value = make_tensor_value_info
    branch = make_graph([node("Neg", ["logits"], "b")], "then", [], [value("b", 2**31 - 1, None)])
    other = make_graph([node("Relu", ["logits"], "a")], "else", [], [value("a", TensorProto.FLOAT, None)])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(node("If", ["yes"], "chosen", then_branch=branch, else_branch=other))
    model.graph.output[0].name = "chosen"
    with pytest.raises(ModelError, match="2147483647"):
        load(model)


def test_what_is_no_tensor_is_said_to_hand_nothing_back() -> None:
    model = small_cnn()
    model.graph.node.extend([node("Optional", ["logits"], "packed"), node("OptionalGetElement", ["packed"], "out")])
    model.graph.output[0].name = "out"
    session_of_bytes = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session_of_bytes.run(None, {"input": np.zeros((1, 3, 12, 10), np.float32)})[0].shape == (1, 5)
    with pytest.raises(UnsupportedOperatorError, match="'packed' is no tensor"):
        Explainer(model, method="gradcam")
