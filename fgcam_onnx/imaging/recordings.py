"""Sounds and scans from files, as arrays."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgcam_onnx.errors import ImageError
from fgcam_onnx.files import check_ends, opened

SOUNDS = (".wav",)
SCANS = (".nii", ".nii.gz")
LARGEST = 2**30
"""Bytes of a sound or a scan."""


def read_sound(path: Path) -> NDArray[np.float32]:
    """Return the samples of a WAV file of whole numbers, (channels, samples), from -1 to 1.

    Raises
    ------
    ImageError
        The file is missing, too large, or none of whole numbers.
    """
    try:
        with opened(path) as source, wave.open(source, "rb") as file:
            width, channels = file.getsampwidth(), file.getnchannels()
            if file.getnframes() * width * channels > LARGEST:
                raise ImageError(f"{path}: above {LARGEST // 2**20} MB, too large for a sound")
            raw = file.readframes(file.getnframes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (wave.Error, EOFError, ValueError) as error:
        raise ImageError(
            f"{path}: no WAV file of whole numbers ({error}). Convert it, or give its samples as an array (.npy)"
        ) from error
    count = len(raw) // (width * channels)
    if not count:
        raise ImageError(f"{path}: the sound has no samples")
    parts = np.frombuffer(raw, np.uint8)[: count * width * channels].reshape(-1, width)
    if width == 1:
        whole = parts[:, 0].astype(np.int64) - 128
    else:
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 4 - width :] = parts
        whole = (wide.view("<i4")[:, 0] >> (8 * (4 - width))).astype(np.int64)
    return np.ascontiguousarray((whole / 2 ** (8 * width - 1)).reshape(count, channels).T, np.float32)


def read_scan(path: Path) -> NDArray[np.float32]:
    """Return the values of a NIfTI file as nibabel has them: axes x, y and z, scaled as the file says.

    Raises
    ------
    ImageError
        nibabel is not installed, or the file is missing, too large, or no scan.
    """
    try:
        import nibabel
    except ImportError:
        raise ImageError(f"{path}: reading scans needs nibabel: pip install 'fgcam-onnx[nifti]'") from None
    try:
        check_ends(path)
        scan: Any = nibabel.load(path)
        if int(np.prod(scan.shape, dtype=np.int64)) * 4 > LARGEST:
            raise ImageError(f"{path}: above {LARGEST // 2**20} MB, too large for a scan")
        return np.asarray(scan.get_fdata(dtype=np.float32), np.float32)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, EOFError, AttributeError, nibabel.filebasedimages.ImageFileError) as error:
        raise ImageError(f"{path}: no scan that nibabel reads ({error})") from error
