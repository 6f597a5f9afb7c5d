"""The viewer shows the explainer's maps; a notebook runs, and shows pictures and no weights."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx import Explainer
from fgcam_onnx.errors import FgcamError, InputError, OptionError
from fgcam_onnx.imaging import shaded
from fgcam_onnx.imaging.overlay import colors_of
from fgcam_onnx.notebook import View, viewer

ROOT = Path(__file__).parents[2]
RESNET, TWO = ROOT / "exported_models" / "resnet_shapes.dynamo.onnx", ROOT / "exported_models" / "pictures" / "two.png"


@pytest.fixture(scope="module")
def view() -> View:
    return View(RESNET, TWO, methods=["layercam", "fgcam"])


def decoded(address: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


def test_a_view_shows_the_explainers_map_in_its_colours(view: View) -> None:
    shown = view.shown(method="layercam", layer="layer4.relu", target="star")
    wanted = Explainer(RESNET, method="layercam", layers="layer4.relu")(TWO, target="star")
    shades = shaded(wanted.map[0], view=(96, 96))
    heat = decoded(shown.heat)
    assert heat.shape == (96, 96, 4)
    np.testing.assert_array_equal(heat[:, :, :3], colors_of(None)[shades.steps(shades.shares)])
    clear = np.rint(255 * np.minimum(1, 1.25 * np.sqrt(shades.shares)))
    np.testing.assert_allclose(heat[:, :, 3], clear, rtol=0, atol=1)
    assert shown.told.startswith("star, probability 0.151")
    assert shown.scale["high"] == f"{shades.top:.3g}"
    assert view.shown(method="fgcam", layer="input", target="diff:star,ring").told.startswith("star - ring")


def test_layers_and_classes_to_choose_from_are_those_of_the_method_and_the_model(view: View) -> None:
    assert view.layers[0] == "input"
    assert view.layers_of("fgcam") == view.layers
    assert view.layers_of("layercam") == view.layers[1:]
    assert [text for _, text in view.targets][:2] == ["ring, 0.836", "star, 0.151"]
    assert decoded(view.picture).shape == (96, 96, 3)


def test_what_a_view_cannot_show_is_refused(view: View) -> None:
    for chosen in ({"method": "rise", "layer": "input"}, {"method": "fgcam", "layer": "nowhere"}):
        with pytest.raises(FgcamError):
            view.shown(**chosen)
    for given in ([TWO, TWO], np.zeros((1, 3, 96, 96), np.float32)):
        with pytest.raises(InputError, match="of one picture"):
            View(RESNET, given)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="fgacm"):
        View(RESNET, TWO, methods=["fgacm"])


def test_a_choice_in_the_viewer_is_computed_and_one_that_fails_is_said() -> None:
    pytest.importorskip("anywidget", reason="the viewer needs anywidget: the extra notebook")
    shown = viewer(RESNET, TWO, methods=["fgcam", "layercam"])
    assert shown.shown["told"].startswith("ring")
    before = shown.shown["heat"]
    shown.target = "3"
    assert shown.shown["told"].startswith("star")
    shown.layer = "layer4.relu"
    shown.method = "layercam"
    assert shown.layers[0] != "input"
    assert shown.shown["of_method"] == "layercam"
    assert shown.shown["heat"] not in ("", before)
    shown.target = "99"
    assert "0 to 7" in shown.shown["error"]
    assert shown.shown["heat"] == ""
    shown.target = "3"
    shown.layer = "input"  # where layercam has none, so that the viewer goes to one that it has
    assert shown.layer == shown.layers[-1]
    assert shown.shown["error"] == ""


CELLS = (
    "import fgcam_onnx\nmodel = fgcam_onnx.load('exported_models/resnet_shapes.dynamo.onnx')\nmodel",
    "picture = 'exported_models/pictures/two.png'\nmodel.predict(picture)",
    "explainer = fgcam_onnx.Explainer(model, method='layercam')\nexplainer",
    "explainer(picture, target=['star', 'ring'])",
    "explainer(picture, target='star').overlay()",
    "import time\nfrom fgcam_onnx.hand.progress import Bar\nbar = Bar()\n"
    "for i in range(1, 5):\n    bar(i, 4)\n    time.sleep(0.6)",
    "from fgcam_onnx.notebook import viewer\nviewer(model, picture)",
)


def test_a_notebook_runs_and_shows_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("nbclient", reason="a notebook is run by nbclient, which is not here")
    pytest.importorskip("ipykernel", reason="a notebook needs ipykernel, which is not here")
    pytest.importorskip("anywidget", reason="the viewer needs anywidget: the extra notebook")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [next(o["data"] for o in reversed(cell.outputs) if "data" in o) for cell in notebook.cells]
    for data in shown[:4]:
        assert 200 < len(data["text/html"]) < 60_000
    assert shown[3]["text/html"].count("data:image") == 4
    assert "image/png" in shown[4]
    (bar,) = [o for o in notebook.cells[5].outputs if o.output_type == "display_data"]
    assert bar["data"]["text/html"] == ""  # shown while it lasts, and taken away at the end
    assert "application/vnd.jupyter.widget-view+json" in shown[6]
    assert not [o for cell in notebook.cells for o in cell.outputs if o.output_type in ("stream", "error")]
