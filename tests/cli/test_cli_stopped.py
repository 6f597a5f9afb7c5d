"""``fgcam explain`` loses nothing: what stops a picture is its own, and a run that was stopped goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx import pictures, written

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET = MODELS / "resnet_shapes.dynamo.onnx"
COMMAND = ("explain", RESNET, "photos", "--method", "gradcam", "--batch", "2", "--raw")


def photos() -> None:
    Path("photos").mkdir()
    for i, path in enumerate(sorted((MODELS / "pictures").glob("*.png"))[:7]):
        Image.open(path).convert("RGB").save(f"photos/{i}.png")
    Path("photos/3.png").write_bytes(b"no picture")


def found(out: str) -> tuple[dict[str, bytes], list[Any]]:
    told = json.loads(Path(out, "explanations.json").read_text().replace(f"{out}/", "OUT/"))
    assert "unfinished" not in told
    return {p.name: p.read_bytes() for p in Path(out).iterdir() if p.suffix != ".json"}, told["images"]


def stopping(monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> None:
    """Let the picture after so many raise ``error`` when it is written."""
    write, count = written.write_picture, [0]

    def counted(*args: Any, **named: Any) -> None:
        count[0] += 1
        if count[0] > after:
            raise error
        write(*args, **named)

    monkeypatch.setattr(written, "write_picture", counted)


@pytest.mark.parametrize("after", [0, 3, 5])
def test_a_run_that_was_stopped_tells_what_is_done_and_goes_on_to_the_same_result(
    fgcam: Any, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    photos()
    assert fgcam(*COMMAND, "-o", "whole").code == 1
    with monkeypatch.context() as patch:
        stopping(patch, after, KeyboardInterrupt())
        ran = fgcam(*COMMAND, "-o", "cut")
    assert ran.code == 130
    done = after // 2 * 2
    assert f"stopped behind {done} of 7 pictures" in ran.err
    told = json.loads(Path("cut/explanations.json").read_text())
    assert "unfinished" in told
    assert [i["image"] for i in told["images"]] == [f"photos/{i}.png" for i in range(done)]
    Path("cut/.0123456789abcdef.tmp").write_bytes(b"half")
    ran = fgcam(*COMMAND, "-o", "cut")
    assert ("going on behind" in ran.err) == bool(done)
    assert found("cut") == found("whole")


def test_an_unfinished_run_is_not_mixed_with_one_of_other_options(fgcam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    photos()
    with monkeypatch.context() as patch:
        stopping(patch, 3, KeyboardInterrupt())
        assert fgcam(*COMMAND, "-o", "cut").code == 130
    ran = fgcam(*COMMAND, "--target", "3", "-o", "cut")
    assert ran.code == 1
    assert "with other options" in ran.err


def test_an_exception_that_nobody_expected_is_that_pictures_error(fgcam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    photos()
    batch = pictures._batch

    def overflowing(explainer: Any, read: Any, *rest: Any) -> Any:
        if any(r.path.name == "5.png" for r in read):
            raise np.linalg.LinAlgError("SVD did not converge")
        return batch(explainer, read, *rest)

    monkeypatch.setattr(pictures, "_batch", overflowing)
    ran = fgcam(*COMMAND, "-o", "out")
    assert ran.code == 1
    assert "photos/5.png: unexpected LinAlgError: SVD did not converge" in ran.err
    assert [("error" in i) for i in found("out")[1]] == [False, False, False, True, False, True, False]
