"""What strangers hand over: names, arguments, models and files are taken, or refused by what is wanted."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from fgcam_onnx import Explainer, export
from fgcam_onnx.errors import FgcamError, ImageError, ModelError, OptionError, OutputError
from fgcam_onnx.imaging import find_images, preprocess_from, read_image, save_png
from fgcam_onnx.loading.loading import load
from fgcam_onnx.text import STEM, shown, unused

X = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
WEIGHTS = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)


def net(weights: Any = WEIGHTS, *, output: str = "y", size: Any = 8) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], [output]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, size, size])
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", len(weights)])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_what_a_terminal_obeys_is_written_out_and_other_text_is_left() -> None:
    assert shown("a\x1b]0;title\x07b\x9bm\u202e") == "a\\u001b]0;title\\u0007b\\u009bm\\u202e"
    assert shown("Käse\t猫\n👩\u200d🔬") == "Käse\t猫\n👩\u200d🔬"


def test_an_error_is_no_longer_than_is_read() -> None:
    """A model may have 100,000 outputs to choose from."""
    model = net()
    for i in range(3000):
        model.graph.node.append(helper.make_node("Identity", ["y"], [f"o{i}"]))
        model.graph.output.append(helper.make_tensor_value_info(f"o{i}", TensorProto.FLOAT, None))
    with pytest.raises(
        FgcamError, match=r"^the model has several outputs: y .* \[…\d+ characters…\] .*--output NAME\)$"
    ) as caught:
        Explainer(model)
    assert 4000 < len(str(caught.value)) < 4050
    assert str(FgcamError("a" * 4000)) == "a" * 4000


def test_names_that_a_file_system_takes_for_one_get_different_files() -> None:
    taken: set[str] = set()
    composed, apart = "Caf\u00e9", "cafe\u0301"
    assert [unused(n, taken) for n in (composed, apart, "CAFE")] == [composed, f"{apart}_2", "CAFE"]


def test_no_name_of_a_model_reaches_the_terminal_raw(fgcam: Any, tmp_path: Path) -> None:
    proto = net(output="y\x1b[2J\x9b31m")
    proto.producer_name = "\x1b]0;gotcha\x07"
    proto.metadata_props.add(key="fgcam.method", value="\x1b[2J")
    onnx.save(proto, tmp_path / "m.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(f"c{i}\x1b[31m" for i in range(4)))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "p\x1b[2J.png")
    runs = [
        fgcam("inspect", tmp_path / "m.onnx"),
        fgcam("inspect", tmp_path / "m.onnx", "--json"),
        fgcam("explain", tmp_path / "m.onnx", tmp_path / "p\x1b[2J.png", "--preprocess", "unit", "--labels",
              tmp_path / "labels.txt"),
        fgcam("explain", tmp_path / "m.onnx", tmp_path / "none\x1b[2J.png", "--preprocess", "unit"),
        fgcam("explain", tmp_path / "m\x1b[2J.onnx", "x.png"),
        fgcam("explain", "--no\x1b[2J"),
    ]  # fmt: skip
    assert [ran.code for ran in runs] == [0, 0, 0, 1, 1, 2]
    for ran in runs:
        assert not set(ran.out + ran.err) & {"\x1b", "\x07", "\x9b"}


def test_file_names_are_cut_by_bytes_and_stay_unique(fgcam: Any, tmp_path: Path) -> None:
    taken: set[str] = set()
    names = [unused("猫" * 200 + str(i), taken, room=STEM) for i in range(12)]
    assert len(set(names)) == 12
    assert max(len(n.encode()) for n in names) <= STEM
    onnx.save(net(), tmp_path / "m.onnx")
    (tmp_path / "labels.txt").write_text("\n".join("汉" * 80 + str(i) for i in range(4)), "utf-8")
    pictures = [tmp_path / f"{'l' * 240}{i}.png" for i in range(2)]
    for path in pictures:
        Image.new("RGB", (8, 8), "red").save(path)
    ran = fgcam("explain", tmp_path / "m.onnx", *pictures, "--preprocess", "unit", "--labels", tmp_path / "labels.txt",
                "--target", "top:3")  # fmt: skip
    assert ran.code == 0
    files = [f for i in json.loads(Path("explanations/explanations.json").read_text())["images"]
             for e in i["explanations"] for f in e["files"]]  # fmt: skip
    assert len(set(files)) == 6
    assert all(Path(file).is_file() for file in files)


def test_a_folder_that_may_not_be_read_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", refused)
    with pytest.raises(ImageError, match="cannot be read"):
        find_images([tmp_path])


def test_a_folder_that_a_pattern_cannot_go_down_to_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("open", "locked", ".hidden"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "p.png")
    assert len(find_images([str(tmp_path / "**" / "*.png")])) == 2
    really, shut = os.scandir, ["locked", ".hidden"]

    def scandir(path: Any = ".") -> Any:
        if Path(os.fsdecode(path)).name in shut:
            raise PermissionError(13, "Permission denied", path)
        return really(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(ImageError, match=r"cannot be read \(Permission denied: .*locked"):
        find_images([str(tmp_path / "**" / "*.png")])
    shut.remove("locked")
    assert len(find_images([str(tmp_path / "**" / "*.png")])) == 2


def test_maps_that_were_drawn_are_no_pictures_of_their_folder(tmp_path: Path) -> None:
    for name, ours in (("photo.png", False), ("photo.input.cat.png", True)):
        save_png(tmp_path / name, Image.new("RGB", (8, 8)), ours=ours)
    assert find_images([tmp_path]) == find_images([str(tmp_path / "*.png")]) == [tmp_path / "photo.png"]
    (tmp_path / "photo.png").unlink()
    with pytest.raises(ImageError, match="1 pictures are maps"):
        find_images([tmp_path])


def test_a_picture_is_limited_by_its_memory_and_a_jpeg_is_decoded_smaller(tmp_path: Path) -> None:
    for name in ("large.png", "large.jpg"):
        Image.new("RGB", (400, 300), "red").save(tmp_path / name)
    with pytest.raises(ImageError, match=r"more than the 40000 allowed \(0 MB"):
        read_image(tmp_path / "large.png", max_pixels=40_000)
    assert read_image(tmp_path / "large.jpg", max_pixels=40_000).size == (200, 150)


@pytest.mark.parametrize(
    "options",
    [{"layers": 3}, {"layers": [None]}, {"grid": "a"}, {"grid": (0, 1)}, {"method": None}, {"base": 3}, {"input": []},
     {"progress": 3}, {"threads": "a"}, {"batch": 1.5}, {"int8": 3}, {"method": "lrp", "epsilon": float("nan")},
     {"batch": np.zeros(3, int)}, {"batch": np.zeros((0, 2), int)}, {"grid": np.zeros((2, 2), int)},
     {"eigen_smooth": np.zeros(0)}, {"denoise": 1}, {"before_softmax": {}}, {"before_softmax": np.zeros(1)},
     {"aug_smooth": None}, {"saturation": "no"}, {"trace": []}, {"optimization": np.zeros(2)}],
    ids=str,
)  # fmt: skip
def test_options_of_the_wrong_kind_are_refused(options: Any) -> None:
    with pytest.raises(OptionError):
        Explainer(net(), **options)


@pytest.mark.parametrize(
    "options",
    [{"resize": np.zeros(3)}, {"normalize": None}, {"fp16": np.zeros((2, 0))}, {"fp16": "yes"}, {"size": [np.zeros(2)]},
     {"size": np.zeros((0, 3))}, {"batch": np.zeros(0, int)}, {"batch": np.full(2, "dynamic")},
     {"batch": ["a", b"\x93"]}],
    ids=str,
)  # fmt: skip
def test_arguments_of_export_of_the_wrong_kind_are_refused(options: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        export(net(), tmp_path / "e.onnx", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [3, None, b"bytes"])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(ModelError, match="a model is a path"):
        Explainer(model)


def test_what_is_plain_is_taken(tmp_path: Path) -> None:
    wanted = export(net(size="s"), tmp_path / "a.onnx", size=(8, 8), preprocess=preprocess_from("imagenet"))
    for size in (8, "8", "8x8"):
        made = export(net(size="s"), tmp_path / "b.onnx", size=size, preprocess="imagenet", batch="dynamic")
        assert made.path.read_bytes() == wanted.path.read_bytes()
    for side in ("224", "224x224", np.int64(224)):
        assert preprocess_from({"size": side}).size == (224, 224)
    for side in (True, [True, 5], "a", "0", 224.5, "9000"):
        with pytest.raises(OptionError, match="size"):
            preprocess_from({"size": side})
    many = Explainer(net(), threads=10**6)(X)
    np.testing.assert_allclose(many.map, Explainer(net(), threads=1)(X).map, rtol=1e-5, atol=1e-6)


def test_models_that_onnx_runtime_takes_are_taken_and_those_of_nothing_refused() -> None:
    wanted = Explainer(net())(X).map
    twice, backwards = net(), net()
    twice.graph.output.append(twice.graph.output[0])
    nodes = list(backwards.graph.node)[::-1]
    del backwards.graph.node[:]
    backwards.graph.node.extend(nodes)
    noted = net()
    noted.metadata_props.add(key="fgcam.note", value="{")
    for proto in (twice, backwards, noted):
        np.testing.assert_array_equal(Explainer(proto)(X).map, wanted)
    for weights in (np.ones((0, 3, 3, 3), np.float32), np.ones((4, 27), np.float32)):
        with pytest.raises(ModelError):
            Explainer(net(weights))
    for kind in (99, -1):
        unknown = net()
        unknown.graph.input[0].type.tensor_type.elem_type = kind
        with pytest.raises(FgcamError):
            Explainer(unknown)


@pytest.mark.parametrize(
    ("op", "constant", "message"),
    [
        ("Pad", np.array([0, 0, 0, -255, 0, 0, 0, -1]), "more than there is|not consistent"),
        ("Resize", np.array([1, 1, 1e30, 1e30], np.float32), "would make"),
    ],
)
def test_sizes_that_no_tensor_has_are_refused(op: str, constant: Any, message: str) -> None:
    proto = net()
    inputs = ["c", "sizes"] if op == "Pad" else ["c", "", "sizes"]
    proto.graph.node.insert(
        1, helper.make_node(op, inputs, ["d"], name="odd", mode="constant" if op == "Pad" else "linear")
    )
    proto.graph.node[2].input[0] = "d"
    proto.graph.initializer.append(numpy_helper.from_array(constant, "sizes"))
    with pytest.raises(ModelError, match=message):
        Explainer(proto, layers="input", method="inputxgradient")


def test_nodes_and_tensors_named_like_ours_are_taken(tmp_path: Path) -> None:
    made = [n.name for n in onnx.load(export(net(), tmp_path / "a.onnx", layers="c").path).graph.node]
    ours = [n for n in made if n.startswith("fgcam/")]
    wanted = Explainer(net(), layers="c")(X).map
    for name in ours[::8]:
        node, tensor = net(), net()
        node.graph.node[1].name = name
        tensor.graph.node[2].output[0] = tensor.graph.node[3].input[0] = f"{name}_output_0"
        for proto in (node, tensor):
            made_of = export(proto, tmp_path / "b.onnx", layers="c").path
            found = onnxruntime.InferenceSession(made_of).run(["explanation"], {"x": X})[0]
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(Explainer(proto, layers="c")(X).map, wanted)


def test_weights_in_a_small_file_are_read_and_the_file_may_go(tmp_path: Path) -> None:
    wanted = Explainer(net(), layers="c")(X).map
    onnx.save(net(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    model = load(tmp_path / "m.onnx")
    assert model.beside == {(tmp_path / "m.data").resolve()}
    with pytest.raises(OutputError, match="its weights"):
        export(model, tmp_path / "m.data", layers="c")
    (tmp_path / "m.data").write_bytes(b"")
    np.testing.assert_array_equal(Explainer(model, layers="c")(X).map, wanted)


def test_crop_shares_and_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="crop_share"):
        preprocess_from({"crop_share": 1e-308})
    (tmp_path / "m.json").write_text(json.dumps({"preset": "unit", "labels": "a" * 5000}))
    from fgcam_onnx.imaging import sidecar_labels

    with pytest.raises(OptionError, match="labels"):
        sidecar_labels(tmp_path / "m.json")


@pytest.mark.parametrize("method", ["gradcam", "lrp", "rise"])
def test_an_explainer_is_carried_to_other_processes(method: str) -> None:
    explainer = Explainer(net(), method=method, progress=lambda done, total: None)
    wanted = explainer(X).map
    for other in (pickle.loads(pickle.dumps(explainer)), copy.deepcopy(explainer)):
        np.testing.assert_array_equal(other(X).map, wanted)


def test_a_dropped_explainer_releases_its_model() -> None:
    explainer = Explainer(net())
    explainer(X)
    model = weakref.ref(explainer.model)
    del explainer
    gc.collect()
    assert model() is None


def test_a_model_is_exported_after_its_file_was_moved(tmp_path: Path) -> None:
    onnx.save(net(), tmp_path / "m.onnx")
    explainer = Explainer(load(tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").unlink()
    made = export(explainer, tmp_path / "e.onnx")
    assert made.metadata["source"] == "m.onnx"
    assert "source_sha256" not in made.metadata
