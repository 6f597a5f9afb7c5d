"""What a model file may look like, and what is refused; nothing from a stranger's file is trusted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from nets import images, model_of, node, small_cnn, small_nodes, small_weights, with_external, written
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fgcam_onnx import Explainer, FgcamError, load
from fgcam_onnx.errors import ModelError

WEIGHT = "layer2.conv.weight"


def refused(model: ModelProto | Path | str, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(model)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"not a model", b"\x89PNG\r\n\x1a\n" + bytes(99), b"{}", os.urandom(0) + b"\xff" * 40]
)
def test_a_file_that_is_not_onnx_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refused(path, str(path), "not an ONNX")


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    refused(path, str(path), "is empty")


def test_a_missing_file_a_folder_and_a_broken_link_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "link.onnx", "no such file")


@pytest.mark.parametrize("third", range(3))
def test_damaged_files_load_or_are_refused_but_never_break(tmp_path: Path, third: int) -> None:
    """Flip bits or cut the end; what still is a model may load, anything else is an expected error."""
    content = small_cnn(width=1, classes=2).SerializeToString()
    path = tmp_path / "model.onnx"
    outcomes = set()
    for seed in range(50):
        rng = np.random.default_rng([third, seed])
        damaged = bytearray(content)
        if seed % 4 == 0:
            del damaged[rng.integers(len(damaged)) :]
        else:
            for _ in range(seed % 3 + 1):
                damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            Explainer(path)
            outcomes.add("explained")
        except FgcamError:
            outcomes.add("refused")
    assert outcomes == {"explained", "refused"}


# ---- weights beside the file


def external(folder: Path, *, location: str = "weights.data", offset: int = 64) -> Path:
    model, content = with_external(small_cnn(width=16), WEIGHT, location=location, offset=offset)
    (folder / "weights.data").write_bytes(content)
    return written(model, folder)


def test_external_data_is_read_from_the_models_folder(tmp_path: Path) -> None:
    x = images()
    beside = Explainer(external(tmp_path))(x)
    inside = Explainer(small_cnn(width=16))(x)
    np.testing.assert_array_equal(beside.map, inside.map)


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.data").unlink()
    refused(path, "weights.data", WEIGHT, "missing")


def test_truncated_external_data_is_named(tmp_path: Path) -> None:
    path = external(tmp_path)
    os.truncate(tmp_path / "weights.data", 1000)
    refused(path, "weights.data", WEIGHT, "truncated")


@pytest.mark.parametrize("where", ["absolute", "parent", "link", "folder link"])
def test_external_data_outside_the_models_folder_is_refused(tmp_path: Path, where: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    external(outside)
    (folder / "link").symlink_to(outside / "weights.data")
    (folder / "sub").symlink_to(outside, target_is_directory=True)
    location = {
        "absolute": str(outside / "weights.data"),
        "parent": "../outside/weights.data",
        "link": "link",
        "folder link": "sub/weights.data",
    }[where]
    path = external(folder, location=location)
    refused(path, "outside the model's folder", WEIGHT)


def test_external_data_needs_the_models_path() -> None:
    model, _ = with_external(small_cnn(), WEIGHT, location="weights.data")
    refused(model, "by its path")


@pytest.mark.parametrize(
    ("key", "value"),
    [("offset", "-8"), ("offset", "x"), ("location", ""), ("location", "a\0b"), ("offset", "9" * 30)],
)
def test_senseless_external_data_is_refused(tmp_path: Path, key: str, value: str) -> None:
    model, content = with_external(small_cnn(), WEIGHT, location="weights.data")
    (tmp_path / "weights.data").write_bytes(content)
    tensor = next(t for t in model.graph.initializer if t.name == WEIGHT)
    next(e for e in tensor.external_data if e.key == key).value = value
    refused(written(model, tmp_path), WEIGHT)


# ---- graphs that lie


def weight_of(model: ModelProto) -> TensorProto:
    return next(t for t in model.graph.initializer if t.name == WEIGHT)


@pytest.mark.parametrize("dims", [[10**12], [2**62, 8], [-16, 8, 3, 3], [1, 1]])
def test_a_weight_whose_shape_lies_is_refused(dims: list[int]) -> None:
    model = small_cnn()
    del weight_of(model).dims[:]
    weight_of(model).dims.extend(dims)
    refused(model, WEIGHT, "damaged")


def test_an_unknown_element_type_is_refused() -> None:
    model = small_cnn()
    weight_of(model).data_type = 999
    refused(model, WEIGHT, "999")


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile"])
def test_a_constant_that_would_fill_the_memory_is_not_computed(op: str) -> None:
    """A graph of a few bytes asks for 4 GB, or for 4 TB."""
    inputs = {"ConstantOfShape": ["sizes"], "Expand": ["one", "sizes"], "Tile": ["one", "sizes"]}[op]
    weights = {**small_weights(), "one": np.ones(1, np.float32)}
    nodes = [
        *small_nodes(),
        node(op, inputs, "large"),
        node("ReduceSum", ["large"], "sum", keepdims=0),
        node("Add", ["logits", "sum"], "output"),
    ]
    weights["sizes"] = np.array([10**9])
    model = load(model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"]))
    assert op in {n.op_type for n in model.nodes}
    assert sum(a.nbytes for a in model.constants.values()) < 10**6
    weights["sizes"] = np.array([10**12])
    refused(
        model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"]),
        op,
        "large",
        "elements",
    )


def test_an_axis_too_long_for_its_pool_is_refused_not_waited_for() -> None:
    pool = node("AveragePool", ["input"], "pooled", kernel_shape=[2, 2], strides=[1, 2])
    nodes = [pool, *small_nodes(source="pooled")]
    model = model_of(nodes, small_weights(), inputs={"input": ["N", 3, 10**5, 2]}, outputs=["logits"])
    with pytest.raises(FgcamError, match=r"AveragePool.*too long"):
        Explainer(model)


def test_a_constant_of_computed_size_is_folded_where_it_is_small() -> None:
    """The size is known only after a first pass has folded what it is made of."""
    weights = {**small_weights(), "two": np.array([2.0], np.float32), "zero": np.array([0.0], np.float32)}
    nodes = [
        *small_nodes(),
        node("Exp", ["zero"], "e"),
        node("Add", ["e", "two"], "three"),
        node("Cast", ["three"], "size", to=TensorProto.INT64),
        node("ConstantOfShape", ["size"], "zeros"),
        node("ReduceSum", ["zeros"], "sum", keepdims=0),
        node("Add", ["logits", "sum"], "output"),
    ]
    model = load(model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"]))
    assert not {"Cast", "ConstantOfShape", "ReduceSum"} & {n.op_type for n in model.nodes}


def test_a_range_without_end_is_refused() -> None:
    weights = {**small_weights(), "start": np.array(0), "end": np.array(10**12), "step": np.array(1)}
    nodes = [*small_nodes(), node("Range", ["start", "end", "step"], "large")]
    refused(model_of(nodes, weights, inputs={"input": [1, 3, 8, 8]}, outputs=["logits"]), "Range", "large")


def test_a_constant_loop_is_not_run_while_loading() -> None:
    kind = onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [node("Identity", ["go"], "again"), node("Add", ["x", "x"], "y")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", kind, [1]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", kind, [1]),
        ],
    )
    weights = {
        **small_weights(),
        "count": np.array(2**62),
        "true": np.array(True),
        "one": np.ones(1, np.float32),
    }
    nodes = [
        *small_nodes(),
        node("Loop", ["count", "true", "one"], "grown", body=body),
        node("Add", ["logits", "grown"], "output"),
    ]
    model = load(model_of(nodes, weights, inputs={"input": ["N", 3, 12, 10]}, outputs=["output"]))
    assert "Loop" in {n.op_type for n in model.nodes}


@pytest.mark.parametrize("what", ["node", "weight", "input", "weight by a node"])
def test_a_name_that_is_written_twice_is_refused(what: str) -> None:
    model = small_cnn()
    graph = model.graph
    if what == "node":
        graph.node.append(node("Relu", ["input"], "/pool/MaxPool_output_0"))
    elif what == "weight":
        graph.initializer.append(weight_of(model))
    elif what == "input":
        graph.input.append(graph.input[0])
    else:
        value = numpy_helper.from_array(np.zeros(5, np.float32))
        graph.node.insert(0, node("Constant", [], "fc.bias", value=value))
    refused(model, "same name" if what == "input" else "written twice")


def test_invalid_graphs_are_refused_with_their_node() -> None:
    unknown = small_cnn()
    unknown.graph.node[1].op_type = "Rellu"
    refused(unknown, "Rellu")
    attribute = small_cnn()
    attribute.graph.node[2].attribute[0].name = "stripes"
    refused(attribute, "stripes")
    circle = small_cnn()
    circle.graph.node[0].input[0] = circle.graph.node[3].output[0]
    refused(circle, "sorted")
    cut = small_cnn()
    del cut.graph.output[:]
    refused(cut, "output")


def test_a_name_that_is_not_text_is_refused() -> None:
    content = small_cnn().SerializeToString().replace(b"fc.bias", b"fc\xff\xfeias")
    broken = ModelProto()
    broken.ParseFromString(content)
    refused(broken, "not text")


def test_opsets_that_are_missing_or_from_the_future_are_refused_by_number() -> None:
    future = small_cnn()
    future.opset_import[0].version = 999
    refused(future, "999", "upgrade onnx")
    none = small_cnn()
    none.opset_import[0].domain = "org.example"
    refused(none, "opset 0")


def calling(*functions: onnx.FunctionProto) -> ModelProto:
    """Return the net with its logits passed through the first of ``functions``."""
    model = small_cnn()
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.functions.extend(functions)
    call = node(functions[0].name, ["logits"], "output", domain="local")
    model.graph.node.append(call)
    model.graph.output[0].name = "output"
    return model


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["x"], ["y"], list(nodes), opsets)


def test_local_functions_are_inlined() -> None:
    double = function("Double", node("Add", ["x", "x"], "y"))
    twice = function(
        "Twice", node("Double", ["x"], "once", domain="local"), node("Double", ["once"], "y", domain="local")
    )
    model = load(calling(twice, double))
    assert {n.op_type for n in model.nodes} == {n.op_type for n in small_nodes()} | {"Add"}
    x = images()
    np.testing.assert_allclose(Explainer(model)(x).scores, 4 * Explainer(small_cnn())(x).scores, rtol=1e-6, atol=0)


def test_a_function_that_calls_itself_is_refused() -> None:
    refused(calling(function("f", node("f", ["x"], "y", domain="local"))), "'f' calls itself")


def test_functions_that_grow_without_bound_are_refused() -> None:
    levels = [
        function(
            f"f{i}",
            node(f"f{i + 1}", ["x"], "a", domain="local"),
            node(f"f{i + 1}", ["a"], "y", domain="local"),
        )
        for i in range(60)
    ]
    refused(calling(*levels, function("f60", node("Relu", ["x"], "y"))), "e+18 nodes")


def test_sparse_weights_are_refused_by_that_word() -> None:
    model = small_cnn()
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "sparse"))
    refused(model, "sparse")
