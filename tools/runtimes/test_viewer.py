"""The notebook's viewer in a real browser, in JupyterLab and in marimo: every choice changes what is shown."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import BROWSERS, HERE, ROOT, MissingError, found, require
from PIL import Image

from fgcam_onnx.notebook import View

CODE = """import fgcam_onnx
from fgcam_onnx.notebook import viewer
shown = viewer("exported_models/resnet_shapes.dynamo.onnx", "exported_models/pictures/two.png")
"""
APP = f"""import marimo
app = marimo.App()
@app.cell
def _():
    import marimo as mo
    {CODE.strip().replace(chr(10), chr(10) + "    ")}
    mo.ui.anywidget(shown)
    return
if __name__ == "__main__":
    app.run()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(kind: str, folder: Path) -> Iterator[str]:
    """Serve the notebook in ``folder``; yields its address."""
    port = free_port()
    os.symlink(ROOT / "exported_models", folder / "exported_models")
    if kind == "marimo":
        (folder / "app.py").write_text(APP)
        command = ["-m", "marimo", "run", "app.py", "--headless", "--no-token", "--port", str(port)]
        address = f"http://localhost:{port}/"
    else:
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE + "shown")])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / "n.ipynb")
        command = ["-m", "jupyterlab", "--allow-root", "--no-browser", "--port", str(port), "--IdentityProvider.token="]
        address = f"http://localhost:{port}/lab/tree/n.ipynb"
    told = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, *command], env=environment, **told)  # type: ignore[call-overload]
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.parametrize("kind", ["jupyterlab", "marimo"])
def test_every_choice_in_the_viewer_is_shown(kind: str, tmp_path: Path) -> None:
    for package in (kind, "anywidget"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not here: pip install {package}")
    try:
        require(HERE / "node_modules" / "playwright-core")
        node, chromium = found("node"), found(*BROWSERS)
    except MissingError as error:
        pytest.skip(str(error))
    folder = ROOT / "build" / "viewer"
    folder.mkdir(parents=True, exist_ok=True)
    with served(kind, tmp_path) as address:
        files = [tmp_path / "told.json", folder / f"{kind}.png"]
        command = [node, HERE / "viewer.mjs", chromium, address, *files]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(files[0].read_text())
    assert told["complaints"] == []
    assert told["first"]["told"].startswith("ring, probability 0.836")
    assert told["class"]["told"].startswith("star, probability 0.151")
    assert told["layer"]["layers"][0] == "input"
    assert told["method"]["layers"][0] != "input"
    steps = ["first", "class", "layer", "method", "signed"]
    assert len({told[step]["heat"] for step in steps}) == len(steps)
    assert told["signed"]["ends"][0].startswith("-")
    assert told["opacity"]["opacity"] == "0.3"
    assert told["opacity"]["unnamed"] == 0
    view = View(ROOT / "exported_models" / "resnet_shapes.dynamo.onnx", ROOT / "exported_models/pictures/two.png")
    wanted = view.shown(method="layercam", layer="layer4.relu", target="3", signed=True)
    pixels = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
        for address in (told["signed"]["heat"], wanted.heat)
    ]
    np.testing.assert_allclose(pixels[0].astype(int), pixels[1].astype(int), rtol=0, atol=1)
