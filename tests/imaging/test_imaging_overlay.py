from __future__ import annotations

import subprocess
import sys
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import ImageError, InputError, OptionError
from fgcam_onnx.imaging import contact_sheet, heatmap, normalize, overlay, panel
from fgcam_onnx.imaging.resampling import gaussian, resized


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def photo(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8))


def half_pixel_bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    at = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(size, values.shape, strict=True)]
    low = [np.floor(a).astype(int) for a in at]
    part = [a - b for a, b in zip(at, low, strict=True)]
    rows, columns = ([np.clip(b + step, 0, m - 1) for step in (0, 1)] for b, m in zip(low, values.shape, strict=True))
    fy, fx = part[0][:, None], part[1][None, :]
    corner = lambda i, j: values[np.ix_(rows[i], columns[j])]
    upper = corner(0, 0) * (1 - fx) + corner(0, 1) * fx
    return upper * (1 - fy) + (corner(1, 0) * (1 - fx) + corner(1, 1) * fx) * fy


def test_unsigned_maps_lose_what_is_negative_and_end_at_one() -> None:
    values = noise(6, 9)
    seen = normalize(values)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, np.where(values > 0, values, 0) / values.max(), rtol=1e-6, atol=0)
    assert (seen.min(), seen.max()) == (0, 1)


def test_signed_maps_are_symmetric_around_a_half() -> None:
    values = noise(6, 9)
    seen = normalize(values, signed=True)
    np.testing.assert_allclose(seen, 0.5 + 0.5 * values / np.abs(values).max(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(normalize(-values, signed=True), 1 - seen, rtol=0, atol=1e-6)


def test_maps_with_nothing_to_show_are_flat() -> None:
    assert np.unique(normalize(np.zeros((2, 3)))).tolist() == [0]
    assert np.unique(normalize(-np.ones((2, 3)))).tolist() == [0]
    assert np.unique(normalize(np.zeros((2, 3)), signed=True)).tolist() == [0.5]
    assert np.asarray(overlay(photo(), np.zeros((40, 60)))).shape == (40, 60, 3)


def test_a_percentile_clips_a_spike_and_counts_only_what_is_there() -> None:
    values = np.zeros((100, 100))
    values.flat[:50] = np.arange(1, 51)
    values[0, 0] = 1e6
    assert normalize(values)[0, 49] < 1e-3
    seen = normalize(values, percentile=90)
    top = np.percentile(values[values > 0], 90)
    np.testing.assert_allclose(seen, np.minimum(values / top, 1), rtol=1e-6, atol=0)
    assert seen[0, 10] > 0.2


@pytest.mark.parametrize("factor", [1e-300, 1e-20, 1e20, 1e300])
def test_the_scale_of_a_map_does_not_matter(factor: float) -> None:
    values = noise(8, 8)
    np.testing.assert_allclose(normalize(values * factor), normalize(values), rtol=1e-6, atol=0)
    for signed in (False, True):
        seen = np.asarray(overlay(photo(), values * factor, signed=signed)).astype(int)
        assert np.abs(seen - np.asarray(overlay(photo(), values, signed=signed))).max() <= 1


@pytest.mark.parametrize(
    "values", [np.ones(3), np.ones((1, 3, 3)), np.ones((0, 3)), np.full((2, 2), np.nan), np.array([["a"]])]
)
def test_what_is_no_map_is_an_input_error(values: np.ndarray) -> None:
    for show in (normalize, heatmap, lambda v: overlay(photo(), v)):
        with pytest.raises(InputError):
            show(values)


def test_heatmaps_take_matplotlibs_colours() -> None:
    values = noise(5, 7)
    for name, signed in (("turbo", False), ("seismic", True), ("viridis", False)):
        chosen = None if name != "viridis" else name
        shares = normalize(values, signed=signed)
        expected = mpl.colormaps[name](np.rint(shares * 255).astype(int))[:, :, :3] * 255
        seen = heatmap(values, colormap=chosen, signed=signed)
        assert seen.dtype == np.uint8
        np.testing.assert_allclose(seen, expected, rtol=0, atol=1)


def test_unknown_colormaps_are_suggested() -> None:
    with pytest.raises(OptionError, match="Did you mean 'inferno'"):
        heatmap(np.ones((2, 2)), colormap="infreno")
    with pytest.raises(OptionError, match="tubro"):
        overlay(photo(), np.ones((2, 2)), colormap="tubro")


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"smooth": -1},
        {"smooth": float("nan")},
        {"gamma": 0},
        {"percentile": 0},
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        overlay(photo(), np.ones((2, 2)), **options)


@pytest.mark.parametrize("shape", [(7, 7), (3, 5), (40, 60), (1, 1)])
def test_maps_are_enlarged_bilinearly_about_pixel_centres(shape: tuple[int, int]) -> None:
    values = noise(*shape) * 1e12
    seen = resized(values, size=(40, 60))
    np.testing.assert_allclose(seen, half_pixel_bilinear(values, (40, 60)), rtol=1e-5, atol=1e6)
    if shape == (7, 7):
        corners = np.array([values[0, 0], values[-1, -1]])
        np.testing.assert_allclose(seen[[0, -1], [0, -1]], corners, rtol=1e-5, atol=0)


def test_maps_are_averaged_when_they_become_smaller() -> None:
    values = np.zeros((80, 120))
    values[::2, ::2] = 1
    np.testing.assert_allclose(resized(values, size=(20, 30))[2:-2, 2:-2], 0.25, rtol=1e-5, atol=0)


def test_smoothing_is_a_gaussian_that_keeps_the_sum() -> None:
    values = np.zeros((41, 61))
    values[20, 30] = 1
    y, x = np.mgrid[-20:21, -30:31]
    expected = np.exp(-(x**2 + y**2) / 8) / (8 * np.pi)
    np.testing.assert_allclose(gaussian(values, sigma=2.0), expected, rtol=0, atol=1e-5)
    edge = gaussian(noise(9, 4), sigma=30.0)
    np.testing.assert_allclose(edge.sum(), noise(9, 4).sum(), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(gaussian(values, sigma=0), values)


def test_the_picture_stays_where_the_map_is_zero_and_takes_colour_where_it_is_not() -> None:
    image = photo()
    values = np.zeros((40, 60))
    values[10:20, 10:20] = 1
    seen = np.asarray(overlay(image, values, smooth=0, alpha=0.5)).astype(float)
    pixels, grey = np.asarray(image).astype(float), np.asarray(image.convert("L")).astype(float)[:, :, None]
    outside = np.ones((40, 60), bool)
    outside[10:20, 10:20] = False
    ground = 0.5 * pixels + 0.5 * 0.6 * grey
    np.testing.assert_allclose(seen[outside], ground[outside], rtol=0, atol=0.51)
    colour = np.array(mpl.colormaps["turbo"](255)[:3]) * 255
    mixed = 0.25 * ground + 0.75 * colour
    # The colour table and the result are each rounded to whole numbers.
    np.testing.assert_allclose(seen[~outside], mixed[~outside], rtol=0, atol=1.5)


def test_alpha_goes_from_the_picture_to_the_map() -> None:
    image, values = photo(), np.ones((40, 60))
    np.testing.assert_array_equal(np.asarray(overlay(image, values, alpha=0)), np.asarray(image))
    full = np.asarray(overlay(image, values, alpha=1))
    np.testing.assert_array_equal(full, heatmap(values))


def test_signed_overlays_tell_for_from_against() -> None:
    values = np.zeros((40, 60))
    values[:, :20], values[:, 40:] = 1, -1
    seen = np.asarray(overlay(Image.new("RGB", (60, 40), "grey"), values, signed=True, smooth=0)).astype(int)
    assert (seen[:, :20, 0] > seen[:, :20, 2] + 50).all()
    assert (seen[:, 40:, 2] > seen[:, 40:, 0] + 50).all()
    assert np.ptp(seen[:, 25:35].reshape(-1, 3)) <= 1


def test_fine_maps_are_smoothed_and_coarse_ones_are_not() -> None:
    image = photo(224, 224)
    fine, coarse = np.abs(noise(224, 224)), np.abs(noise(7, 7))
    same = lambda values, **options: np.array_equal(overlay(image, values), overlay(image, values, **options))
    assert same(fine, smooth=1.0, gamma=0.5)
    assert same(coarse, smooth=0.0, gamma=1.0)
    assert not same(fine, smooth=0.0)
    assert not same(coarse, smooth=4.0)


def test_sheets_hold_every_tile_in_rows_on_white() -> None:
    colours = ["red", "lime", "blue", "cyan", "magenta"]
    tiles = [(name, Image.new("RGB", (30, 30), name)) for name in colours]
    sheet = np.asarray(contact_sheet(tiles, columns=2, tile=40))
    assert tuple(sheet[0, 0]) == tuple(sheet[-1, -1]) == (255, 255, 255)
    centres = []
    for _, image in tiles:
        ys, xs = np.nonzero((sheet == np.asarray(image)[0, 0]).all(axis=2))
        assert len(ys) == 40 * 40
        centres.append((ys.mean(), xs.mean()))
    assert centres[0][0] == centres[1][0] < centres[2][0] == centres[3][0] < centres[4][0]
    assert centres[0][1] == centres[2][1] == centres[4][1] < centres[1][1] == centres[3][1]


def test_captions_are_written_and_long_ones_stay_in_their_tile() -> None:
    blank = [("", Image.new("RGB", (100, 100), "white"))] * 2
    long = [("a very long caption " * 40, blank[0][1]), blank[1]]
    without, shown = (np.asarray(contact_sheet(t, columns=2, tile=100)).astype(int) for t in (blank, long))
    assert without.shape == shown.shape
    columns = np.nonzero(np.abs(without - shown).sum(axis=(0, 2)))[0]
    assert columns.size > 40
    assert columns.min() >= 3
    assert columns.max() <= 4 + 100


def test_panels_show_the_input_first_and_a_title_above() -> None:
    image = photo(300, 200)
    plain = panel(image, [("map", overlay(image, noise(7, 7)))])
    titled = panel(image, [("map\nof é and 猫", overlay(image, noise(7, 7)))], title="tench — 0.98")
    assert plain.mode == titled.mode == "RGB"
    assert titled.width == plain.width > 600
    assert titled.height > plain.height > 300
    assert panel(Image.new("LA", (9000, 3)), []).width < 700


def test_sheets_that_cannot_be_made_are_refused() -> None:
    tile = [("a", photo())]
    for tiles, options in (
        ([], {}),
        (tile, {"columns": 0}),
        (tile, {"tile": 8}),
        (tile * 20, {"tile": 4096}),
    ):
        with pytest.raises(OptionError):
            contact_sheet(tiles, **options)
    with pytest.raises(ImageError):
        contact_sheet([("a", Image.fromarray(np.full((2, 2), -5, np.int32)))])


def test_importing_the_package_does_not_import_matplotlib() -> None:
    code = "import sys, fgcam_onnx.imaging; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    control = "import sys, fgcam_onnx.imaging, matplotlib; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", control], check=False).returncode == 1
