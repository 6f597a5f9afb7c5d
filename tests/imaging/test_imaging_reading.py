from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgcam_onnx.errors import ImageError
from fgcam_onnx.imaging import find_images, read_image
from fgcam_onnx.imaging.reading import as_rgb

RGB = np.random.default_rng(7).integers(0, 256, (5, 8, 3), dtype=np.uint8)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png_header(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))


def upright_by_hand(stored: np.ndarray, orientation: int) -> np.ndarray:
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation](stored)


def test_a_plain_png_comes_back_as_its_own_pixels(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png", dpi=(72, 72))
    image = read_image(tmp_path / "a.png")
    assert (image.mode, image.size, image.info) == ("RGB", (8, 5), {})
    np.testing.assert_array_equal(np.asarray(image), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / f"a.{suffix}", exif=exif)
    seen = np.asarray(read_image(tmp_path / f"a.{suffix}"))
    np.testing.assert_array_equal(seen, upright_by_hand(RGB, orientation))
    assert orientation == 1 or seen.shape != RGB.shape or not np.array_equal(seen, RGB)


def test_a_damaged_exif_block_does_not_stop_the_picture(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*garbage that is no directory")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), RGB)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (5, 8, 1), dtype=np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "a.png")
    share = alpha / 255.0
    expected = RGB * share + 255.0 * (1 - share)
    np.testing.assert_allclose(np.asarray(read_image(tmp_path / "a.png")), expected, rtol=0, atol=1.0)


def test_a_transparent_palette_entry_and_grey_with_alpha_turn_white(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([200, 10, 10, 10, 10, 200] + [0] * 762)
    palette.putpixel((0, 0), 1)
    palette.save(tmp_path / "p.gif", transparency=0)
    seen = np.asarray(read_image(tmp_path / "p.gif"))
    assert tuple(seen[0, 0]) == (10, 10, 200)
    assert tuple(seen[2, 2]) == (255, 255, 255)
    palette.save(tmp_path / "p.png", transparency=bytes([0, 255]))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "p.png")), seen)
    Image.merge("LA", [Image.new("L", (2, 2), 40), Image.new("L", (2, 2), 0)]).save(tmp_path / "la.png")
    assert np.asarray(read_image(tmp_path / "la.png")).min() == 255


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 1000], [32768, 40000, 60000, 65407, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        seen = np.asarray(read_image(tmp_path / name))
        np.testing.assert_array_equal(seen[:, :, 0], np.floor(values / 257 + 0.5).astype(np.uint8))
        np.testing.assert_array_equal(seen[:, :, 0], seen[:, :, 2])
    assert len(np.unique(seen)) > 5


def test_thirty_two_bit_grey_is_read_as_sixteen_bit_or_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535], [25700, 257]], np.int32)).save(tmp_path / "a.tif")
    assert np.asarray(read_image(tmp_path / "a.tif"))[:, :, 1].tolist() == [[0, 255], [100, 1]]
    Image.fromarray(np.array([[0, 65536]], np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(ImageError, match=r"b\.tif.*65536.*8 bit"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
    ],
)
def test_float_grey_is_read_by_the_range_it_fits(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "f.tif")
    assert np.asarray(read_image(tmp_path / "f.tif"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, -1.0, 1e6])
def test_float_grey_out_of_range_is_refused(tmp_path: Path, bad: float) -> None:
    Image.fromarray(np.array([[0.0, bad]], np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"f\.tif"):
        read_image(tmp_path / "f.tif")


def test_cmyk_grey_and_black_and_white_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    np.testing.assert_allclose(np.asarray(read_image(tmp_path / "c.jpg"))[0, 0], [255, 0, 0], rtol=0, atol=3)
    Image.new("L", (3, 3), 77).save(tmp_path / "l.png")
    assert np.unique(np.asarray(read_image(tmp_path / "l.png"))).tolist() == [77]
    Image.new("1", (3, 3), 1).save(tmp_path / "b.png")
    assert np.unique(np.asarray(read_image(tmp_path / "b.png"))).tolist() == [255]


def test_a_colour_mode_without_a_way_to_rgb_is_an_image_error() -> None:
    assert as_rgb(Image.new("RGBa", (2, 2))).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(ImageError, match="this one: the colour mode 'La'"):
        as_rgb(Image.new("La", (2, 2)), name="this one")


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif").getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp"])
def test_a_file_cut_short_is_an_image_error(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise).save(whole)
    assert read_image(whole).size == (64, 64)
    for share in (0.02, 0.3, 0.6):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        with pytest.raises(ImageError, match=rf"cut\.{suffix}"):
            read_image(cut)


def test_flipped_bytes_never_raise_anything_but_an_image_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    picture = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    messages = []
    for suffix in ("png", "jpg", "gif", "tif", "webp", "bmp", "tga", "ppm"):
        picture.save(tmp_path / f"a.{suffix}")
        good = (tmp_path / f"a.{suffix}").read_bytes()
        for _ in range(60):
            data = bytearray(good)
            for at in rng.integers(0, min(len(data), 200), 3):
                data[at] = int(rng.integers(256))
            bad = tmp_path / f"bad.{suffix}"
            bad.write_bytes(data)
            try:
                assert read_image(bad, max_pixels=10**6).mode == "RGB"
            except ImageError as error:
                messages.append(str(error))
    assert len(messages) > 50
    assert all("bad." in message for message in messages)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    # The second and third are above the sizes at which Pillow warns and raises by itself.
    for width, height, limit in ((2000, 1000, 10**6), (9_800, 9_800, 95_000_000), (60_000, 60_000, 10**8)):
        (tmp_path / "bomb.png").write_bytes(huge_png_header(width, height))
        with pytest.raises(ImageError, match=r"bomb\.png.*Scale it down first"):
            read_image(tmp_path / "bomb.png", max_pixels=limit)
    (tmp_path / "small.png").write_bytes(huge_png_header(200, 100))
    with pytest.raises(ImageError, match=r"small\.png.*damaged"):
        read_image(tmp_path / "small.png")


def test_the_pixel_limit_can_be_set(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=40).size == (8, 5)
    with pytest.raises(ImageError, match="8 x 5 pixels is more than the 39 allowed"):
        read_image(tmp_path / "a.png", max_pixels=39)


def test_what_is_no_picture_is_an_image_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    for name in ("text.jpg", "empty.png", "absent.png", "link.png"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)


def test_postscript_is_not_handed_to_another_program(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="not a picture"):
        read_image(tmp_path / "a.jpg")


def test_files_folders_and_globs_are_found_in_order_and_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "a.jpeg", "notes.txt", "sub/c.webp"):
        (tmp_path / name).write_bytes(b"x")
    a, b, c = tmp_path / "a.jpeg", tmp_path / "b.PNG", tmp_path / "sub" / "c.webp"
    assert find_images([str(tmp_path)]) == [a, b]
    assert find_images([b, tmp_path, f"{tmp_path}/**/*"]) == [b, a, c]
    assert find_images([str(tmp_path / "absent.png"), str(b)]) == [tmp_path / "absent.png", b]
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    named = tmp_path / "cat[1].png"
    named.write_bytes(b"x")
    assert find_images([named]) == [named]


def test_finding_nothing_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImageError, match="1 other files were passed over"):
        find_images([tmp_path])
    with pytest.raises(ImageError, match=r"\*\.png"):
        find_images([str(tmp_path / "*.png")])
    with pytest.raises(ImageError, match="No picture was given"):
        find_images([])
