"""``fgcam methods``, and settings of methods on the command line."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgcam_onnx import Explainer
from fgcam_onnx.cli.values import parse_settings
from fgcam_onnx.errors import OptionError
from fgcam_onnx.imaging import preprocess_from, read_image
from fgcam_onnx.methods import BASES, METHODS, Method

MODELS = Path(__file__).parents[2] / "exported_models"
MODEL = MODELS / "resnet_shapes.dynamo.onnx"
PICTURE = MODELS / "pictures" / "ring.png"


@pytest.mark.parametrize("columns", [80, 120])
def test_every_method_is_listed_with_its_settings(fgcam: Any, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = fgcam("methods")
    assert (ran.code, ran.err) == (0, "")
    words = ran.out.split()
    for name, method in METHODS.items():
        assert name in words
        for setting, default in method.settings.items():
            shown = str(default).lower() if isinstance(default, bool) else default
            assert f"{setting}={','.join(map(str, shown)) if isinstance(shown, tuple) else shown}" in words
    assert max(len(line.rstrip()) for line in ran.out.splitlines()) <= columns + 20
    assert "…" not in ran.out, "nothing is cut off"


def test_methods_as_json_say_the_same(fgcam: Any) -> None:
    rows = {row["name"]: row for row in json.loads(fgcam("methods", "--json").out)}
    assert list(rows) == list(METHODS)
    for name, row in rows.items():
        method = METHODS[name]
        assert row["settings"] == json.loads(json.dumps(dict(method.settings)))
        assert (row["summary"], row["source"]) == (method.summary, method.source)
        assert row["map"] == {"base": "layer"}.get(method.at, method.at)
        assert row["one_graph"] == (method.append is not None)
        assert row["base"] == (name in BASES and BASES[name].channels)


def test_no_setting_is_called_as_an_option_of_every_method() -> None:
    options = set(inspect.signature(Explainer).parameters)
    for name, method in METHODS.items():
        assert options.isdisjoint(method.settings), name


def test_methods_can_be_named(fgcam: Any) -> None:
    rows = json.loads(fgcam("methods", "rise", "saliency", "--json").out)
    assert [row["name"] for row in rows] == ["rise", "saliency"]
    ran = fgcam("methods", "ries")
    assert ran.code == 1
    assert "Did you mean 'rise'" in ran.err


def test_settings_on_the_command_line_are_those_of_the_api(fgcam: Any) -> None:
    ran = fgcam(
        "explain", MODEL, PICTURE, "--method", "rise", "--set", "masks=24", "--set", "p=0.3",
        "--set", "centred=no", "--aug-smooth", "--raw", "-o", "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    summary = json.loads(Path("out/explanations.json").read_text())
    assert summary["settings"] == dict(METHODS["rise"].settings) | {"masks": 24, "p": 0.3, "centred": False}
    assert summary["aug_smooth"] is True
    explainer = Explainer(MODEL, method="rise", masks=24, p=0.3, centred=False, aug_smooth=True)
    x = preprocess_from(MODEL.with_suffix(".json")).bound((1, 3, 96, 96), np.dtype("float32"))(read_image(PICTURE))
    (file,) = Path("out").glob("*.npy")
    np.testing.assert_allclose(np.load(file), explainer(x).map[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("maks=3", "rise has no setting 'maks'.*Did you mean 'masks'"),
        ("masks=3.5", "masks is a whole number, such as 4000"),
        ("p=half", "p is a number, such as 0.5"),
        ("centred=maybe", "centred is true or false"),
        ("masks", "write NAME=VALUE"),
        ("=3", "write NAME=VALUE"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(fgcam: Any, pair: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_settings([pair], method="rise", base="gradcam")
    ran = fgcam("explain", MODEL, PICTURE, "--method", "rise", "--set", pair)
    assert ran.code == 1
    assert "error:" in ran.err


def test_settings_are_read_by_the_type_of_their_default(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"count": 3, "share": 0.5, "word": "a", "switch": True}
    monkeypatch.setitem(METHODS, "rise", Method("", "", settings=own))
    given = ["count = 7", "share=2", "word=b=c", "switch=off"]
    found = parse_settings(given, method="rise", base="gradcam")
    assert found == {"count": 7, "share": 2.0, "word": "b=c", "switch": False}
    assert [type(v) for v in found.values()] == [int, float, str, bool]
    assert parse_settings(["switch=YES"], method="rise", base="gradcam") == {"switch": True}
    with pytest.raises(OptionError, match="count is given twice"):
        parse_settings(["count=1", "count=2"], method="rise", base="gradcam")


def test_fgcam_takes_the_settings_of_its_base() -> None:
    assert parse_settings(["samples=4"], method="fgcam", base="smoothgradcam++") == {"samples": 4}
    with pytest.raises(OptionError, match="has no setting 'samples'"):
        parse_settings(["samples=4"], method="fgcam", base="gradcam")
