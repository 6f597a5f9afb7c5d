"""Arrays from files, and arrays as pictures to draw on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgcam_onnx.errors import FgcamError, ImageError
from fgcam_onnx.files import check_ends, opened
from fgcam_onnx.imaging.recordings import SCANS, SOUNDS, read_scan, read_sound

ARRAYS = (".npy", ".npz", *SOUNDS, *SCANS)
"""Extensions of files that hold arrays, sounds and scans, which are taken as they are."""
LARGEST = 2**30
"""Bytes of such a file."""


def is_array(path: Path) -> bool:
    """Tell whether a file holds arrays, by its name."""
    return path.name.lower().endswith(ARRAYS)


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read a ``.npy`` file, a sound or a scan, whose array is called ``""``, or a ``.npz`` file; nothing is executed.

    Raises
    ------
    ImageError
        The file is missing, too large, or holds no arrays of numbers.
    """
    where = Path(path)
    for endings, read in ((SOUNDS, read_sound), (SCANS, read_scan)):
        if where.name.lower().endswith(endings):
            return {"": read(where)}
    try:
        check_ends(where)
        if where.stat().st_size > LARGEST:
            raise ImageError(f"{where}: above {LARGEST // 2**20} MB, too large for an array")
        if where.suffix.lower() == ".npy":
            # mapped, a header that promises more than the file holds is refused before memory is taken
            found = {"": np.array(np.lib.format.open_memmap(where, mode="r"))}
        else:
            with opened(where) as file, np.load(file, allow_pickle=False) as content:
                sizes = {i.filename: i.file_size for i in content.zip.infolist()}
                if sum(sizes.values()) > LARGEST:
                    raise ImageError(f"{where}: above {LARGEST // 2**20} MB unpacked, too large for arrays")
                found = {name: content[name] for name in content.files}
    except OSError as error:
        raise ImageError(f"{where}: cannot be read ({error.strerror or error})") from error
    except FgcamError:
        raise
    except Exception as error:  # numpy, zip and its decoders raise anything on files that others wrote
        raise ImageError(f"{where}: no arrays of numbers as numpy.save and numpy.savez write them ({error})") from error
    if not found or not all(isinstance(a, np.ndarray) and a.dtype.kind in "biuf" for a in found.values()):
        raise ImageError(f"{where}: no arrays of numbers")
    return found


def as_view(array: NDArray[Any], *, channel_axis: int) -> Image.Image:
    """Return one image's array, (C, H, W) or with its channels elsewhere, as a picture from its least to largest value.

    One channel, or other than three, is grey: their mean.
    """
    pixels = np.moveaxis(np.asarray(array, np.float64), channel_axis, -1)
    if pixels.shape[-1] != 3:
        pixels = pixels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    low, high = pixels.min(), pixels.max()
    return Image.fromarray(np.rint((pixels - low) / max(high - low, 1e-12) * 255).astype(np.uint8))
