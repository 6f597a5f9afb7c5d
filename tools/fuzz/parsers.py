"""Let atheris look for bytes that parsers stumble over: ``python tools/fuzz/parsers.py sidecar -max_total_time=60``.

It changes bytes by what they reach in the package's code. Parsers: labels, model, picture, sidecar. What follows goes
to libFuzzer; without a folder it starts from small valid files. It ends at the first exception that is no error of the
package, and writes the bytes into a file named ``crash-...``.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tools" / "fuzz")]

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports(include=["fgcam_onnx"], enable_loader_override=False):
    from fgcam_onnx import load
    from fgcam_onnx.errors import FgcamError
    from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image, read_labels, sidecar_labels

import numpy as np  # noqa: E402
from classes import source  # noqa: E402
from strange_files import LABELS, PLAIN, picture  # noqa: E402

SEEDS = 40
"""Files to begin with."""


def read_sidecar(path: Path) -> None:
    """Read the file beside a model."""
    found = find_sidecar(path.with_name("model.onnx"))
    if found is not None:
        sidecar_labels(found)
        preprocess_from(found)


PARSERS: dict[str, tuple[str, Callable[[Path], object], Callable[[np.random.Generator, int], bytes]]] = {
    "labels": ("labels.txt", read_labels, lambda rng, i: LABELS[i % len(LABELS)].encode()),
    "model": ("model.onnx", load, lambda rng, i: source(rng)),
    "picture": ("picture.png", lambda path: read_image(path, max_pixels=10**6), lambda rng, i: picture(rng)),
    "sidecar": ("model.json", read_sidecar, lambda rng, i: json.dumps(PLAIN[i % len(PLAIN)]).encode()),
}
"""The file's name, what reads it, and what draws a valid one."""


@contextlib.contextmanager
def corpus(name: str) -> Iterator[Path]:
    """Write valid files to begin with."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(SEEDS):
            (Path(folder) / str(i)).write_bytes(PARSERS[name][2](rng, i))
        yield Path(folder)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(__doc__)
    name = sys.argv.pop(1)
    file, read, _ = PARSERS[name]
    warnings.simplefilter("ignore")
    with corpus(name) as begin, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file

        def one(content: bytes) -> None:
            path.write_bytes(content)
            with contextlib.suppress(FgcamError):
                read(path)

        atheris.Setup([*sys.argv, str(begin), "-rss_limit_mb=4096"], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
