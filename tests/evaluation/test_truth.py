"""Boxes, masks and classes from files, on pictures and in what the model sees of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import ImageError, OptionError, TargetError
from fgcam_onnx.evaluation import Boxes, Masks, read_boxes, read_classes
from fgcam_onnx.evaluation.truth import in_view, named
from fgcam_onnx.imaging import Preprocess

LABELS = ("tench, Tinca tinca", "tabby cat", "dog")
PICTURE = Image.new("RGB", (200, 100))
BOX = (20, 10, 60, 40)
COCO = {
    "images": [{"id": 7, "file_name": "val/a.jpg", "width": 200, "height": 100}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 7, "bbox": [20, 10, 40, 30], "category_id": 1},
        {"image_id": 7, "bbox": [100, 50, 10, 10], "category_id": 2},
    ],
    "categories": [{"id": 1, "name": "tabby cat"}, {"id": 2, "name": "dog"}],
}
VOC = """<annotation><size><width>200</width><height>100</height></size>
<object><name>n02123045</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object>
</annotation>"""
CSV = "file,xmin,ymin,xmax,ymax,class\na.jpg,20,10,60,40,tabby cat\n"


def expected() -> np.ndarray:
    region = np.zeros((100, 200), bool)
    region[10:40, 20:60] = True
    return region


def write(folder: Path, kind: str) -> Path:
    path = folder / {"coco": "boxes.json", "csv": "boxes.csv", "voc": "a.xml"}[kind]
    path.write_text({"coco": json.dumps(COCO), "csv": CSV, "voc": VOC}[kind])
    return path


@pytest.mark.parametrize("kind", ["coco", "csv", "voc"])
def test_the_same_box_in_three_forms_is_the_same_region(tmp_path: Path, kind: str) -> None:
    boxes = read_boxes(write(tmp_path, kind), labels=LABELS)
    assert np.array_equal(boxes.of("a.jpg", PICTURE, 1), expected())
    assert boxes.of("other.jpg", PICTURE, 1) is None


def test_a_folder_of_voc_files_is_read(tmp_path: Path) -> None:
    write(tmp_path, "voc")
    assert np.array_equal(read_boxes(tmp_path).of("x/a.png", PICTURE, 0), expected())


def test_boxes_that_name_the_models_classes_count_for_their_class_only(tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path, "coco"), labels=LABELS)
    assert boxes.by_class
    assert boxes.of("a.jpg", PICTURE, 2)[55, 105]
    assert not boxes.of("a.jpg", PICTURE, 2)[20, 30]
    assert boxes.of("a.jpg", PICTURE, 0) is None


def test_boxes_that_name_other_things_all_count(tmp_path: Path) -> None:
    without = read_boxes(write(tmp_path, "coco"))
    assert not without.by_class
    assert without.of("a.jpg", PICTURE, 0)[55, 105]
    assert not read_boxes(write(tmp_path, "voc"), labels=LABELS).by_class


def test_boxes_of_a_picture_of_another_size_are_an_error_of_that_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"200 x 100, this one is 100 x 200"):
        read_boxes(write(tmp_path, "coco")).of("a.jpg", Image.new("RGB", (100, 200)), 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", "[]"),
        ("x.json", "{"),
        ("x.csv", "a,b\n1,2\n"),
        ("x.xml", "<a"),
        ("x.txt", ""),
        ("x.csv", "file,x0,y0,x1,y1\n"),
    ],
)
def test_what_holds_no_boxes_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(OptionError, match=name):
        read_boxes(tmp_path / name)


def test_masks_are_bright_or_palette_indices(tmp_path: Path) -> None:
    grey = Image.fromarray(np.where(expected(), 255, 0).astype(np.uint8))
    grey.save(tmp_path / "a.png")
    palette = Image.fromarray(np.where(expected(), 3, 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0] * 255)
    palette.save(tmp_path / "b.png")
    masks = Masks(tmp_path)
    assert np.array_equal(masks.of("a.jpg", PICTURE, 0), expected())
    assert np.array_equal(masks.of("sub/b.jpg", PICTURE, 0), expected())
    assert masks.of("c.jpg", PICTURE, 0) is None
    with pytest.raises(ImageError, match="200 x 100"):
        masks.of("a.jpg", Image.new("RGB", (10, 10)), 0)


def test_a_region_goes_through_the_same_crop_as_its_picture() -> None:
    """A picture that is white in the region and black elsewhere is cut and scaled to the region in view."""
    preprocess = Preprocess(size=(64, 64))
    picture = Image.fromarray(np.where(expected(), 255, 0).astype(np.uint8)).convert("RGB")
    bright = np.asarray(preprocess.view(picture))[:, :, 0] > 127
    assert bright.any()
    assert np.array_equal(in_view(expected(), preprocess), bright)


def test_padding_is_never_part_of_a_region() -> None:
    preprocess = Preprocess(size=(64, 64), resize="pad", fill=255)
    assert in_view(np.ones((100, 200), bool), preprocess).mean() == 0.5


def test_a_region_that_is_cropped_away_is_none() -> None:
    edge = np.zeros((100, 200), bool)
    edge[:, :5] = True
    assert in_view(edge, Preprocess(size=(64, 64))) is None


def test_pictures_are_found_by_the_end_of_their_path() -> None:
    names = {"train/x.jpg": 1, "val/x.jpg": 2, "y.JPEG": 3}
    assert named("val/x.jpg", names) == 2
    assert named("deep/y.png", names) == 3
    assert named("z.jpg", names) is None
    with pytest.raises(OptionError, match="may be"):
        named("x.jpg", names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", "file,class\na.jpg,1\nb.jpg,dog\n"),
        ("c.json", '{"a.jpg": 1, "b.jpg": "dog"}'),
        ("c.json", '[{"file": "a.jpg", "label": 1}, {"file": "b.jpg", "class": "dog"}]'),
    ],
)
def test_classes_are_read_by_index_or_name(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name, labels=LABELS) == {"a.jpg": 1, "b.jpg": 2}
    with pytest.raises(TargetError):
        read_classes(tmp_path / name, labels=("cat", "bird"))


def test_boxes_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    """What a run depends on is named in its journal: the same boxes say the same, other boxes something else."""
    one, same = (read_boxes(write(tmp_path, "csv"), labels=LABELS) for _ in range(2))
    assert repr(one) == repr(same)
    assert repr(one) != repr(Boxes({}, LABELS))
