"""One mapping from a raw map to colours: recomputed by hand, and held against the page's own in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.emptiness import NOT_POSITIVE, ZERO
from fgcam_onnx.errors import InputError, OptionError
from fgcam_onnx.imaging import Placement, Seen, Style, drawn, footed, likeness, likenesses, overlay, shaded
from fgcam_onnx.imaging.likeness import told
from fgcam_onnx.imaging.overlay import colors_of

PAINT = Path(__file__).parents[2] / "fgcam_onnx" / "page" / "static" / "paint.js"

SCRIPT = """
import { readFileSync } from "node:fs";
import { lay, shaded } from "./paint.mjs";
const told = JSON.parse(readFileSync("told.json", "utf8"));
const pixels = Uint8ClampedArray.from(told.pixels);
const shades = shaded({ ...told.map, data: Float32Array.from(told.map.data) }, told.view, told.style);
lay(pixels, told.view, shades, told.style);
process.stdout.write(JSON.stringify({ pixels: [...pixels], top: shades.top }));
"""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8))


def by_the_page(folder: Path, picture: Image.Image, values: np.ndarray, **style: Any) -> tuple[np.ndarray, float]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    shutil.copyfile(PAINT, folder / "paint.mjs")
    (folder / "run.mjs").write_text(SCRIPT)
    told_ = {
        "pixels": np.asarray(picture.convert("RGBA")).reshape(-1).tolist(),
        "view": {"width": picture.width, "height": picture.height},
        "map": {"width": values.shape[1], "height": values.shape[0], "data": values.reshape(-1).tolist()},
        "style": {"palette": colors_of(None, signed=style["signed"]).tolist(), **style},
    }
    (folder / "told.json").write_text(json.dumps(told_))
    ran = subprocess.run([node, "run.mjs"], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    answer = json.loads(ran.stdout)
    pixels = np.array(answer["pixels"]).reshape(picture.height, picture.width, 4)[:, :, :3]
    return pixels, answer["top"]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(7, 9), (96, 120), (200, 230)], ids=["coarse", "fine", "finer than the view"])
def test_the_page_paints_what_an_overlay_shows(tmp_path: Path, shape: tuple[int, int], signed: bool) -> None:
    picture, values = photo(120, 96), noise(*shape)
    pixels, top = by_the_page(tmp_path, picture, values, signed=signed, opacity=0.5)
    wanted = shaded(values, view=(96, 120), signed=signed)
    np.testing.assert_allclose(top, wanted.top, rtol=1e-4, atol=0)
    off = np.abs(pixels - np.asarray(overlay(picture, values, signed=signed)).astype(int)).max(axis=2)
    # a share near the middle between two of 256 colours may fall to either
    assert (off <= 2).mean() > 0.99
    assert off.max() <= 16


def test_the_page_takes_the_same_choices(tmp_path: Path) -> None:
    picture, values = photo(60, 40), noise(40, 60)
    pixels, _ = by_the_page(tmp_path, picture, values, signed=False, opacity=0.8, clip=90, smooth=2, gamma=1)
    wanted = overlay(picture, values, alpha=0.8, percentile=90, smooth=2.0, gamma=1.0)
    assert (np.abs(pixels - np.asarray(wanted).astype(int)).max(axis=2) <= 2).mean() > 0.99


def test_shares_are_the_raw_map_over_top_where_nothing_is_smoothed_or_clipped() -> None:
    values = noise(30, 40)
    shades = shaded(values, smooth=0.0, percentile=100.0, gamma=1.0)
    np.testing.assert_allclose(shades.shares * shades.top, np.maximum(values, 0), rtol=1e-6, atol=1e-9)
    assert (shades.least, shades.most, shades.top) == (values.min(), values.max(), values.max())
    # colours are then linear in the map: the number of the colour, of 255
    np.testing.assert_allclose(shades.steps(shades.shares), 255 * np.maximum(values, 0) / values.max(), atol=0.51)


def test_top_is_what_so_many_of_the_values_stay_under() -> None:
    values = np.abs(noise(100, 100)) + 1e-3
    for percentile in (50.0, 90.0, 99.5):
        shades = shaded(values, smooth=0.0, percentile=percentile)
        assert abs((values <= shades.top).mean() - percentile / 100) < 1e-3
        assert (shades.shares == 1).mean() == pytest.approx(1 - percentile / 100, abs=1e-3)


def test_the_extent_of_a_map_does_not_depend_on_the_picture_it_is_laid_over() -> None:
    values, view = np.add.outer(np.linspace(0, 1, 48), np.linspace(-0.5, 1, 64)), (48, 64)
    small = Image.new("RGB", (64, 48), (90, 90, 90))
    large = Image.new("RGB", (640, 480), (90, 90, 90))
    placement = Placement((480, 640), view, (0.0, 0.0, 640.0, 480.0))
    over = overlay(large, values, placement=placement, alpha=1).resize((64, 48), Image.Resampling.BOX)
    difference = np.abs(np.asarray(over).astype(int) - np.asarray(overlay(small, values, alpha=1)).astype(int))
    assert np.median(difference) <= 2
    assert np.percentile(difference, 99) <= 12


def test_a_picture_of_another_size_than_the_placements_is_refused() -> None:
    with pytest.raises(InputError, match="20 x 10, but a placement in one of 64 x 48"):
        overlay(Image.new("RGB", (20, 10)), np.ones((2, 2)), placement=Placement.whole((48, 64)))


def test_a_map_that_shows_nothing_says_so() -> None:
    assert shaded(np.zeros((3, 3))).note == shaded(np.zeros((3, 3)), signed=True).note == ZERO
    assert shaded(-np.ones((3, 3))).note == NOT_POSITIVE
    assert shaded(-np.ones((3, 3)), signed=True).note == shaded(np.eye(3)).note == ""
    grey = Image.new("RGB", (200, 150), "grey")
    silent, said = (np.asarray(overlay(grey, values)) for values in (np.full((2, 2), 1e-9), -np.ones((2, 2))))
    assert not (silent == 255).all(axis=2).any()
    assert (said[-4:] == 255).all(axis=2).any()


def test_the_bar_below_a_picture_holds_the_scales_colours_linear_in_the_map() -> None:
    picture, shades = photo(300, 200), shaded(np.abs(noise(200, 300)), percentile=100.0)
    below = np.asarray(footed(picture, scale=shades))
    np.testing.assert_array_equal(below[:200], np.asarray(picture))
    table = colors_of(None)
    row = next(r for r in range(200, len(below)) if (below[r] == table[255]).all(axis=1).any())
    inside = np.nonzero((below[row] != 255).any(axis=1))[0]
    length = inside[-1] - inside[0] + 1
    for share in (0.0, 0.25, 0.5, 1.0):
        at = inside[0] + round(share * (length - 1))
        wanted = table[round(255 * share**shades.gamma)].astype(int)
        assert np.abs(below[row, at].astype(int) - wanted).max() <= 12


def test_a_narrow_picture_keeps_its_place_above_its_footer() -> None:
    picture = photo(32, 32)
    below = np.asarray(footed(picture, scale=shaded(noise(32, 32)), notes=["preprocessing: unit, a guess"]))
    np.testing.assert_array_equal(below[:32, :32], np.asarray(picture))
    assert below.shape[1] == 160
    assert np.asarray(footed(picture)).shape == (32, 32, 3)


def test_a_style_without_smoothing_clip_gamma_and_bar_draws_the_plain_map() -> None:
    picture = photo(40, 30)
    seen = Seen(picture, picture, Placement.whole((30, 40)))
    values = np.abs(noise(30, 40))
    plain = Style(alpha=1.0, percentile=100.0, smooth=0.0, gamma=1.0, bar=False)
    wanted = colors_of(None)[np.rint(255 * values / values.max()).astype(int)]
    shown = np.asarray(drawn(seen, values, style=plain)).astype(int)
    solid = values / values.max() > 0.64  # from there on the colour is all there is
    assert np.abs(shown - wanted)[solid].max() <= 6


def test_large_photographs_are_drawn_smaller_with_the_map_at_its_place() -> None:
    picture = Image.new("RGB", (4000, 3000), (90, 90, 90))
    seen = Seen(picture, picture.resize((64, 64)), Placement((3000, 4000), (64, 64), (2000.0, 1000.0, 3000.0, 2000.0)))
    over = np.asarray(drawn(seen, np.ones((2, 2)), style=Style(bar=False))).astype(int)
    assert over.shape == (1500, 2000, 3)
    ys, xs = np.nonzero(np.ptp(over, axis=2) > 60)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [1000, 500, 1500, 1000], atol=2)
    assert drawn(seen, np.ones((2, 2)), style=Style(on="model", bar=False)).size == (64, 64)


@pytest.mark.parametrize("options", [{"smooth": -1.0}, {"gamma": 0.0}, {"percentile": 101.0}, {"smooth": 2000.0}])
def test_shading_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        shaded(np.ones((2, 2)), **options)


def test_likeness_is_the_correlation_whatever_the_sizes() -> None:
    a, b = noise(12, 9), noise(12, 9, seed=1)
    assert likeness(a, b) == pytest.approx(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1], abs=1e-6)
    assert likeness(a, 3 * a + 2) == pytest.approx(1, abs=1e-6)
    assert likeness(a, -a) == pytest.approx(-1, abs=1e-6)
    smooth = np.add.outer(np.arange(4.0), np.arange(3.0))
    fine = np.asarray(Image.fromarray(smooth.astype(np.float32)).resize((9, 12), Image.Resampling.BILINEAR))
    assert likeness(smooth, fine) == pytest.approx(1, abs=1e-5)
    assert likeness(a, np.ones((12, 9))) is None
    assert likeness(1e-200 * a, 1e200 * a) == pytest.approx(1, abs=1e-6)


def test_alike_maps_are_told() -> None:
    a = noise(5, 5)
    maps = {"cat": a, "dog": a + 0.1 * noise(5, 5, seed=1), "car": noise(5, 5, seed=2), "flat": np.ones((5, 5))}
    found = likenesses(maps)
    assert set(found) == {("cat", "dog"), ("cat", "car"), ("dog", "car")}
    (line,) = told(found, what="classes at input")
    assert line.startswith("correlation of classes at input: cat and dog 1.00, cat and car -0.12")
    assert line.endswith("; cat and dog hardly differ")
    assert told({("cat", "dog"): 0.97}, what="classes") == [
        "correlation of classes: cat and dog 0.97; they hardly differ"
    ]
    assert "hardly" not in told({("cat", "dog"): 0.5}, what="classes")[0]
    assert told({}, what="classes") == []
