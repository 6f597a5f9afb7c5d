"""The questions of the docs, asked about photographs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from fgcam_onnx.batch import explain_source
from fgcam_onnx.imaging import PRESETS

PAGE = Path(__file__).parents[2] / "docs" / "batch.md"
NETS = {"resnet": "squeezenet1.1_fp32_rebuilt.onnx", "vgg": "mobilenet_v2_fp32_dequant.onnx"}
COUNT = int(os.environ.get("FGCAM_QUESTIONS", "6"))
"""How many photographs are asked about: 320 are there."""


def test_the_questions_of_the_docs_are_answered_on_photographs(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    imports, _, questions = code.partition("for net in")
    questions = questions[questions.index("# 1. ") :]
    told = {p["file"]: p for p in json.loads((assets / "images" / "val_labels.json").read_text())}
    names = sorted(told)[:COUNT]
    labels = [named for _, named in json.loads((assets / "images" / "imagenet_classes.json").read_text())]
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("".join(f"{assets}/images/val/{name}\n" for name in names))
    for name, model in NETS.items():
        explain_source(
            assets / "models" / model, "list.txt", sink=f"maps/{name}", labels=labels, batch=5,
            preprocess=PRESETS["imagenet"],
        )  # fmt: skip
    space: dict[str, object] = {"boxes": {f"{assets}/images/val/{n}": told[n]["boxes"] for n in names}}
    exec(compile(imports + questions, PAGE.name, "exec"), space)
    print(said := capsys.readouterr().out)
    off = space["off"]
    assert all(0 <= value <= 1 for value in off)  # type: ignore[attr-defined]
    assert set(off.index) <= set(labels)  # type: ignore[attr-defined]
    differ = space["differ"]
    assert len(differ) == 5  # type: ignore[arg-type]
    assert np.all(np.diff(differ["cosine"]) >= 0)  # type: ignore[index]
    assert said.count(".JPEG") >= 2 * 5
