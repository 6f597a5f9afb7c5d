"""An explanation is kept without loss and read again; a folder that holds none, or a damaged one, is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, small_cnn

from fgcam_onnx import Explainer, Explanation
from fgcam_onnx.errors import InputError, OptionError
from fgcam_onnx.targets import Difference

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, TWO = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "two.png"


def same(a: Any, b: Any) -> None:
    """Every field is the same, to the last bit."""
    for name, value in vars(a).items():
        other = getattr(b, name)
        if name in ("maps", "conservation"):
            assert list(value) == list(other)
            for n in value:
                np.testing.assert_array_equal(value[n], other[n])
                assert value[n].dtype == other[n].dtype
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
            assert value.dtype == other.dtype
        elif name == "seen":
            for one, two in zip(value, other, strict=True):
                np.testing.assert_array_equal(np.asarray(one.picture), np.asarray(two.picture))
                np.testing.assert_array_equal(np.asarray(one.view), np.asarray(two.view))
                assert one.placement == two.placement
        elif name == "trace":
            assert [(t.op, t.node) for t in value] == [(t.op, t.node) for t in other]
            for one, two in zip(value, other, strict=True):
                np.testing.assert_array_equal(one.arriving, two.arriving)
                np.testing.assert_array_equal(one.leaving, two.leaving)
        else:
            assert value == other, name


@pytest.mark.parametrize(
    ("options", "x", "target"),
    [
        ({"model": RESNET, "layers": ["input", "layer2"]}, [TWO, TWO.with_name("star.png")], "top:2"),
        ({"model": RESNET, "method": "gradcam", "preprocess": "imagenet"}, TWO, "diff:star,ring"),
        ({"model": RESNET, "method": "lrp", "trace": True}, TWO, None),
        ({"model": small_cnn(), "denoise": True}, images(2), Difference(0, 1)),
    ],
)
def test_what_is_read_is_what_was_kept(tmp_path: Path, options: Any, x: Any, target: Any) -> None:
    explainer = Explainer(options["model"], **{n: v for n, v in options.items() if n != "model"})
    e = explainer(x, target=target)
    paths = e.save(tmp_path)
    assert all(p.is_file() for p in paths)
    again = Explanation.load(tmp_path)
    same(e, again)
    same(again, e)
    np.testing.assert_array_equal(np.asarray(again.sheet()), np.asarray(e.sheet()))


def test_a_folder_that_holds_no_explanation_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    Explainer(RESNET, method="gradcam")(TWO).save(tmp_path / "good")
    with pytest.raises(InputError, match="no explanation"):
        Explanation.load(tmp_path)
    with pytest.raises(OptionError, match="a path"):
        Explanation.load(3)  # type: ignore[arg-type]
    (name,) = (p.name for p in (tmp_path / "good").glob("*.npy"))
    for number, damage in enumerate(
        [
            lambda f: (f / "explanation.json").write_text("{"),
            lambda f: (f / "explanation.json").write_text("[1]"),
            lambda f: (f / "explanation.json").write_text(json.dumps({"files": {}, "seen": []})),
            lambda f: (f / "explanation.npz").unlink(),
            lambda f: (f / name).write_bytes(b"\x93NUMPY"),
            lambda f: (f / "pictures" / "0.picture.png").write_bytes(b"no picture"),
            lambda f: np.save(f / name, np.array([{}]), allow_pickle=True),
            lambda f: (f / "explanation.json").write_text(
                (f / "explanation.json").read_text().replace(f'"{name}"', '"../good/x.npy"')
            ),
        ]
    ):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "good", folder)
        damage(folder)
        with pytest.raises(InputError, match=r"damaged|no explanation"):
            Explanation.load(folder)
