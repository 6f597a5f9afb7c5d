"""ONNX Runtime's own build for browsers: the files of it that a page needs, and where they come from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ..errors import FgcamError, OptionError

LIBRARY = "onnxruntime-web@1.30.0"
"""The package and its version, as npm writes them."""

FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What runs in every browser, on the processor."""

LIMIT = 200 * 2**20


def runtime_files(folder: str | Path | None = None) -> list[Path]:
    """Return the library's files.

    Parameters
    ----------
    folder : path, optional
        The ``dist`` folder of an unpacked package. Default: npm's package, fetched once and kept among the caches of
        the user.

    Raises
    ------
    OptionError
        The folder does not hold them.
    FgcamError
        npm is not there, or does not bring the package: says what else would do.
    """
    if folder is not None:
        return _present(Path(folder))
    kept = _cache() / LIBRARY.replace("@", "-")
    if not all(os.path.isfile(kept / name) for name in FILES):
        _fetch(kept)
    return _present(kept)


def _present(folder: Path) -> list[Path]:
    missing = [name for name in FILES if not os.path.isfile(folder / name)]
    if missing:
        raise OptionError(f"{folder}: {', '.join(missing)} of {LIBRARY} is not there; name the package's folder dist")
    return [folder / name for name in FILES]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgcam_onnx"


def _fetch(kept: Path) -> None:
    way = f"unpack {LIBRARY} yourself and name its folder dist with --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise FgcamError(f"the page runs on {LIBRARY}, which npm brings: install Node.js, or {way}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", LIBRARY, "--pack-destination", folder, "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise FgcamError(f"npm does not bring {LIBRARY}: {said[-1] if said else 'it says nothing'}; or {way}")
        kept.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed[0]) as archive:
            for name in FILES:
                _take(archive, f"package/dist/{name}", kept / name)


def _take(archive: tarfile.TarFile, member: str, to: Path) -> None:
    """Write one file of an archive, whole or not at all."""
    found = archive.getmember(member)
    source = archive.extractfile(found)
    if source is None or found.size > LIMIT:
        raise FgcamError(f"{LIBRARY} holds no file {member} of at most {LIMIT} bytes")
    beside = to.with_name(f"{to.name}.part")
    beside.write_bytes(source.read())
    beside.replace(to)
