"""The folder of a page: whole, of one's own model, and refused with the way out where it cannot be."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from fgcam_onnx.cli import page
from fgcam_onnx.errors import FgcamError, OptionError
from fgcam_onnx.imaging.writing import sha256_of
from fgcam_onnx.page import LIBRARY, runtime_files, serving
from fgcam_onnx.page.runtime import FILES
from fgcam_onnx.page.writing import INDEX, write_page

ROOT = Path(__file__).parents[2]
NET = "vgg_shapes.dynamo.onnx"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """Return a folder with files of the names that the page needs."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


def test_the_version_is_the_one_that_is_tried_in_a_browser() -> None:
    wants = json.loads((ROOT / "tools" / "browser" / "package.json").read_text())["dependencies"]
    assert [f"{name}@{version}" for name, version in wants.items()] == [LIBRARY]


def test_a_page_holds_the_model_s_explanations_and_pictures(
    fgcam: Any, bundled: Path, runtime: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "photos"
    pictures.mkdir()
    shutil.copy(bundled / "pictures" / "two.png", pictures / "<b>.png")
    Image.open(bundled / "pictures" / "star.png").save(pictures / "star.tiff")
    (pictures / "torn.jpg").write_bytes(b"no picture")
    site = tmp_path / "site"
    ran = fgcam("page", bundled / NET, pictures, "-o", site, "--runtime", runtime)
    assert ran.code == 0, ran.err
    assert "torn.jpg" in ran.err
    told = json.loads((site / INDEX).read_text())
    assert [row["method"] for row in told["models"]] == ["fgcam", "gradcam"]
    assert {row["sha256"] for row in told["models"]} == {sha256_of(bundled / NET)}
    assert told["models"][0]["labels"][:1] == (bundled / "shapes.labels.txt").read_text().split()[:1]
    assert told["pictures"] == [
        {"file": "picture-0001.png", "name": "<b>.png"},
        {"file": "picture-0002.png", "name": "star.tiff"},
    ]
    static = {p.name for p in (ROOT / "fgcam_onnx" / "page" / "static").iterdir()}
    assert static | {INDEX, "files", "runtime"} == {p.name for p in site.iterdir()}
    assert {p.name for p in (site / "runtime").iterdir()} == set(FILES)
    for row in told["models"]:
        session = onnxruntime.InferenceSession(site / "files" / row["file"], providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == ["pixels", "target"]
    seen = np.asarray(Image.open(site / "files" / "picture-0002.png").convert("RGB"))
    np.testing.assert_array_equal(seen, np.asarray(Image.open(bundled / "pictures" / "star.png").convert("RGB")))


def test_a_method_that_nobody_named_is_left_out_where_it_cannot_be(
    fgcam: Any, bundled: Path, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "FIRST", ("gradcam", "rise"))
    ran = fgcam("page", bundled / NET, "-o", tmp_path / "site", "--runtime", runtime)
    assert ran.code == 0, ran.err
    assert [row["method"] for row in json.loads((tmp_path / "site" / INDEX).read_text())["models"]] == ["gradcam"]
    assert "rise is left out" in ran.err


def test_what_cannot_be_written_whole_leaves_nothing(fgcam: Any, bundled: Path, runtime: Path, tmp_path: Path) -> None:
    options = ["-o", tmp_path / "site", "--runtime", runtime, "--method", "gradcam", "--method", "rise"]
    ran = fgcam("page", bundled / NET, *options)
    assert ran.code == 1
    assert "rise cannot be exported" in ran.err
    assert not (tmp_path / "site").exists()


def test_a_folder_of_something_else_is_left_as_it_is(fgcam: Any, bundled: Path, runtime: Path, tmp_path: Path) -> None:
    for front in ("index.html", "notes.txt"):
        site = tmp_path / front
        site.mkdir()
        (site / front).write_text("theirs")
        ran = fgcam("page", bundled / NET, "-o", site, "--runtime", runtime)
        assert ran.code == 1
        assert "holds something else than a page" in ran.err
        assert [(p.name, p.read_text()) for p in site.iterdir()] == [(front, "theirs")]


def test_a_page_is_written_over_by_the_next_and_keeps_nothing_that_it_does_not_show(
    fgcam: Any, bundled: Path, runtime: Path, tmp_path: Path
) -> None:
    site, options = tmp_path / "site", ["--runtime", runtime, "--method", "gradcam"]
    site.mkdir()
    pictures = [bundled / "pictures" / name for name in ("star.png", "two.png")]
    assert fgcam("page", bundled / NET, *pictures, "-o", site, *options).code == 0
    (site / "files" / "mine.txt").write_text("added by hand")
    ran = fgcam("page", bundled / "resnet_shapes.dynamo.onnx", pictures[1], "-o", site, *options)
    assert ran.code == 0, ran.err
    kept = {p.name for p in (site / "files").iterdir()}
    assert kept == {"resnet_shapes.dynamo.gradcam.onnx", "picture-0001.png", "mine.txt"}
    (site / INDEX).unlink()
    assert fgcam("page", bundled / NET, "-o", site, *options).code == 0, "one that was stopped is a page, too"


def test_what_the_page_runs_on_is_asked_for_before_anything_is_built(
    fgcam: Any, bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FgcamError, match=r"install Node\.js, or unpack onnxruntime-web@.* --runtime"):
        runtime_files()
    with pytest.raises(OptionError, match=r"ort-wasm-simd-threaded\.wasm of onnxruntime-web"):
        runtime_files(tmp_path)
    ran = fgcam("page", bundled / NET, "-o", tmp_path / "site")
    assert ran.code == 1
    assert not (tmp_path / "site").exists()


def test_a_page_without_a_model_or_with_unreadable_pictures_alone_is_refused(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="needs a model"):
        write_page(tmp_path / "site", [], runtime=runtime)


def test_a_page_is_served_with_the_types_that_browsers_insist_on(tmp_path: Path) -> None:
    for name in ("a.mjs", "a.wasm", "a.js"):
        (tmp_path / name).write_text("")
    with serving(tmp_path) as server:
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kinds = [
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}").headers["Content-Type"]
            for name in ("a.mjs", "a.wasm", "a.js")
        ]
        with pytest.raises(OptionError, match=f"port {port} cannot be served"):
            serving(tmp_path, port=port)
        server.shutdown()
    assert kinds == ["text/javascript", "application/wasm", "text/javascript"]
