"""Arrays from files: numbers, or an error that says what the file is."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fgcam_onnx.errors import ImageError
from fgcam_onnx.imaging.arrays import read_arrays

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


def entry() -> bytes:
    file = io.BytesIO()
    np.save(file, ARRAY)
    return file.getvalue()


def promise(count: int) -> bytes:
    """Return the header of an array of ``count`` numbers, of which none follows."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (count,)})
    return file.getvalue()


def packed(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", content)
    return file.getvalue()


def with_byte(archive: bytes, *, central: int, local: int, value: int) -> bytes:
    """Return ``archive`` with a byte of both headers of its entry set."""
    changed = bytearray(archive)
    changed[archive.index(b"PK\x01\x02") + central] = changed[local] = value
    return bytes(changed)


STRANGE = {
    "an entry that is no array": packed(b"no array"),
    "an entry without a byte": packed(b""),
    "a promise that no memory holds": packed(promise(10**13)),
    "a promise of more than there is": packed(promise(10**6)),
    "an entry under a password": with_byte(packed(entry()), central=8, local=6, value=1),
    "a way to pack that there is not": with_byte(packed(entry()), central=10, local=8, value=99),
    "an archive cut short": packed(entry())[:-10],
    "nothing": b"",
}


def test_arrays_of_numbers_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(packed(entry()))
    (tmp_path / "a.npy").write_bytes(entry())
    for name, key in (("a.npz", "a"), ("a.npy", "")):
        (found,) = read_arrays(tmp_path / name).items()
        assert found[0] == key
        np.testing.assert_array_equal(found[1], ARRAY)


@pytest.mark.parametrize("about", STRANGE)
def test_what_holds_no_arrays_is_refused(about: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(STRANGE[about])
    with pytest.raises(ImageError, match=r"a\.npz: no arrays of numbers"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ImageError, match="not a regular file"):
        read_arrays(tmp_path / name)
