"""``fgcam batch``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

RESNET = "resnet_shapes.dynamo.onnx"


def rows(sink: Path) -> list[dict[str, Any]]:
    return list(pyarrow.dataset.dataset(sink).to_table().sort_by("id").to_pylist())


def test_it_says_what_came_of_it_and_what_would_speed_it_up(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    ran = fgcam(
        "batch", bundled / RESNET, f"{bundled}/pictures/*.png", "-o", tmp_path / "s", "--method", "gradcam",
        "--batch-size", "4", "--workers", "1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    for text in ("9 pictures in", "a second, 4 at once in each of 1 lanes", "where the time went: ", " longest: ",
                 "preprocessing: resnet_shapes.dynamo.json", "9 rows of 9 pictures in 1 files"):  # fmt: skip
        assert text in ran.out
    labels = {row["id"]: row["label"] for row in rows(tmp_path / "s")}
    assert labels["star.png"] == "star"


def test_a_bad_picture_is_counted_and_the_exit_code_is_1(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((bundled / "pictures" / "star.png").read_bytes())
    (tmp_path / "in" / "b.png").write_bytes(b"none")
    common = ("batch", bundled / RESNET, tmp_path / "in", "-o", tmp_path / "s", "--method", "gradcam")
    ran = fgcam(*common, "--batch-size", "2", "--target", "ring")
    assert ran.code == 1
    assert "1 are no pictures that can be decoded" in ran.out
    good, bad = rows(tmp_path / "s")
    assert (good["label"], bad["failed"], bad["map"]) == ("ring", "decode", None)
    again = fgcam(*common, "--target", "ring", "--resume")
    assert again.code == 1
    assert "; 2 stood there before" in again.out
    assert "pass --resume to go on" in fgcam(*common, "--target", "ring").err


def test_overlays_stand_beside_their_rows(fgcam: Any, bundled: Path, tmp_path: Path) -> None:
    ran = fgcam(
        "batch", bundled / RESNET, bundled / "pictures" / "two.png", "-o", tmp_path / "s", "--method", "gradcam",
        "--overlays", "--colormap", "viridis",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (row,) = rows(tmp_path / "s")
    assert (tmp_path / "s" / row["overlay"]).is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--colormap", "viridis"), "pass --overlays"),
        (("--address", "auto"), "are for the engine ray"),
        (("--base", "layercam"), "base"),
        (("--target", "no such class"), "no such class"),
        (("--batch-size", "none"), "neither auto nor a whole number"),
    ],
)
def test_options_that_change_nothing_or_do_not_fit_are_refused(
    fgcam: Any, bundled: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    picture = bundled / "pictures" / "star.png"
    ran = fgcam("batch", bundled / RESNET, picture, "-o", tmp_path / "s", "--method", "gradcam", *options)
    assert ran.code != 0
    assert said in ran.err
    assert not (tmp_path / "s" / "_manifest.json").exists()
