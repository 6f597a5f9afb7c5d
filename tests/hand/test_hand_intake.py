"""Pictures go in as people have them: each kind is told by its type, and gives the maps of the array it stands for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, small_cnn, written
from PIL import Image

import fgcam_onnx
from fgcam_onnx import Explainer
from fgcam_onnx.errors import ImageError, InputError, OptionError
from fgcam_onnx.explainer import Explainer as OfArrays
from fgcam_onnx.hand import GuessWarning
from fgcam_onnx.imaging import PRESETS, Preprocess, preprocess_from, read_image

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, STAR = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "star.png"
KEPT = Preprocess(resize="stretch")


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(RESNET, method="gradcam")


@pytest.fixture(scope="module")
def wanted() -> Any:
    """The map by the explainer of arrays, the picture prepared by hand."""
    spec = preprocess_from(RESNET.with_suffix(".json")).bound((None, 3, 96, 96), np.dtype(np.float32))
    return OfArrays(RESNET, method="gradcam")(np.asarray(spec(read_image(STAR)))).map


def pixels() -> Any:
    return np.asarray(Image.open(STAR).convert("RGB"))


KINDS: dict[str, Any] = {
    "path": lambda: STAR,
    "text": lambda: str(STAR),
    "bytes": STAR.read_bytes,
    "image": lambda: Image.open(STAR),
    "pixels": pixels,
    "opaque": lambda: np.dstack([pixels(), np.full(pixels().shape[:2], 255, np.uint8)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_gives_the_map_of_its_array(explainer: Explainer, wanted: Any, kind: str) -> None:
    e = explainer(KINDS[kind]())
    np.testing.assert_allclose(e.map, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert e.overlay().size == (96, 96)
    np.testing.assert_array_equal(np.asarray(e.seen[0].picture), pixels())


def test_a_list_and_an_array_of_pictures_are_batches(explainer: Explainer, wanted: Any) -> None:
    for given in ([STAR, pixels()], (Image.open(STAR), STAR.read_bytes()), np.stack([pixels(), pixels()])):
        e = explainer(given)
        np.testing.assert_allclose(e.map, np.concatenate([wanted, wanted]), rtol=0, atol=1e-5 * np.abs(wanted).max())
        assert len(e.names) == len(e.seen) == 2


def test_a_float_array_is_prepared_already_and_a_picture_is_not_known(explainer: Explainer) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 96, 96)).astype(np.float32)
    e = explainer(x)
    np.testing.assert_array_equal(e.map, OfArrays(RESNET, method="gradcam")(x).map)
    assert e.seen == e.names == e.notes == ()
    with pytest.raises(InputError, match=r"overlay\(image\)"):
        e.overlay()


def test_an_array_of_the_models_own_type_and_rank_is_no_picture() -> None:
    """A net that takes 8-bit pixels: a batch of them is prepared, and the same as images are pictures."""
    import onnx
    from onnx import helper

    proto = small_cnn(size=(12, 10))
    graph = proto.graph
    first = helper.make_node("Cast", ["pixels"], ["as_float"], to=onnx.TensorProto.FLOAT)
    turned = helper.make_node("Transpose", ["as_float"], [graph.input[0].name], perm=[0, 3, 1, 2])
    nodes = [first, turned, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", 12, 10, 3]))
    explainer = Explainer(proto, method="gradcam", preprocess="none")
    assert len(explainer(np.zeros((30, 20, 3), np.uint8)).seen) == 1
    batch = np.random.default_rng(1).integers(0, 256, (2, 12, 10, 3), np.uint8)
    e = explainer(batch)
    assert e.seen == ()
    from_pictures = explainer([Image.fromarray(one) for one in batch])
    np.testing.assert_array_equal(from_pictures.map, e.map)
    assert len(from_pictures.seen) == 2


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ([STAR, np.zeros((3, 96, 96), np.float32)], InputError, "number 1 of the pictures"),
        (np.zeros((3, 96, 96), np.uint8), InputError, r"colours first.*transpose\(1, 2, 0\)"),
        (np.zeros((2, 3, 96, 96), np.uint8), InputError, r"float32, got uint8.*prepared as in training"),
        (np.zeros((96, 96, 3)), InputError, "pixels are uint8"),
        (None, InputError, "neither picture nor array"),
        ({1, 2}, InputError, "neither picture nor array"),
        ("https://example.org/a.png", ImageError, "not fetched"),
        ("pictures/*.png", ImageError, "find_images"),
        (np.zeros((0, 96, 3), np.uint8), InputError, "no pixels"),
        ("none.png", ImageError, "no such file"),
        (b"no picture", ImageError, "not a picture"),
        (str(STAR.parent), ImageError, "find_images"),
        ([], InputError, "dimensions"),
    ],
)
def test_what_is_neither_picture_nor_array_is_refused(explainer: Explainer, given: Any, error: Any, word: str) -> None:
    with pytest.raises(error, match=word):
        explainer(given)


def test_a_photograph_lies_as_its_exif_data_say(explainer: Explainer) -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.open(STAR).convert("RGB").rotate(180).save(turned, "PNG", exif=exif)
    image = Image.open(io.BytesIO(turned.getvalue()))
    for given in (image, turned.getvalue()):
        np.testing.assert_array_equal(np.asarray(explainer(given).seen[0].picture), pixels())
    assert image.getexif()[0x0112] == 3  # the caller's image is as it was


# ---- preprocessing and labels


def test_preprocessing_is_a_preset_a_file_a_mapping_an_object_or_a_callable(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"preset": "tf", "resize": "stretch"}')
    whole = PRESETS["tf"].__class__(**{**vars(PRESETS["tf"]), "resize": "stretch"})

    def own(image: Any) -> Any:
        return (np.asarray(image.resize((10, 12), Image.Resampling.BILINEAR), np.float64) / 127.5 - 1).transpose(
            2, 0, 1
        )

    specs = [path, str(path), {"preset": "tf", "resize": "stretch"}, whole, own]
    maps = [fgcam_onnx.explain(small_cnn(), STAR, preprocess=spec, method="gradcam").map for spec in specs]
    for found in maps[1:]:
        np.testing.assert_allclose(found, maps[0], rtol=0, atol=1e-5 * np.abs(maps[0]).max())
    assert not np.allclose(fgcam_onnx.explain(small_cnn(), STAR, preprocess="unit", method="gradcam").map, maps[0])


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("imagnet", "imagenet"),
        (3, "preset, a file"),
        ({"means": 1}, "mean"),
        (lambda image: np.zeros(3), "of a picture"),
    ],
)
def test_preprocessing_that_is_none_is_refused(spec: Any, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        fgcam_onnx.explain(small_cnn(), STAR, preprocess=spec, method="gradcam")


def test_what_a_callable_saw_is_drawn_on_and_on_the_whole_picture_where_it_tells() -> None:
    class Own:
        def __call__(self, image: Any) -> Any:
            return np.asarray(KEPT.bound(("N", 3, 12, 10), "float32")(image))

        def placement(self, size: tuple[int, int]) -> Any:
            return KEPT.bound(("N", 3, 12, 10), "float32").placement(size)

    told, silent = Own(), Own().__call__
    assert fgcam_onnx.explain(small_cnn(), STAR, preprocess=told, method="gradcam").overlay().size == (96, 96)
    assert fgcam_onnx.explain(small_cnn(), STAR, preprocess=silent, method="gradcam").overlay().size == (10, 12)


def test_a_guess_is_warned_of_once_and_written_on_what_is_made(tmp_path: Path) -> None:
    explainer = Explainer(written(small_cnn(), tmp_path), method="gradcam")
    with pytest.warns(GuessWarning, match="imagenet, a guess.*preprocess="):
        e = explainer(STAR)
    assert e.notes == ("preprocessing: imagenet, a guess",)
    assert "a guess" in e._repr_html_()
    assert explainer(STAR).notes == e.notes  # and no second warning, which would be an error here
    assert Explainer(small_cnn(), method="gradcam")(images(1)).notes == ()


def test_labels_are_those_beside_the_model_in_the_model_or_given(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    assert Explainer(RESNET, method="gradcam").labels[3] == "star"
    for given in (tmp_path / "names.txt", ["a", "b", "c", "d", "e"]):
        assert Explainer(small_cnn(), method="gradcam", labels=given).labels == ("a", "b", "c", "d", "e")
    proto = small_cnn()
    proto.metadata_props.add(key="names", value="{0: 'v', 1: 'w', 2: 'x', 3: 'y', 4: 'z'}")
    assert Explainer(proto, method="gradcam")(images(1), target="x").target.tolist() == [2]
    with pytest.raises(OptionError, match="4 labels for 5 classes"):
        Explainer(small_cnn(), method="gradcam", labels=["a", "b", "c", "d"])
    with pytest.raises(OptionError, match="names of classes"):
        Explainer(small_cnn(), method="gradcam", labels=5)
