"""Build wheel and sdist, and try each in a clean environment of every Python that is there.

``python tools/house/dist.py FOLDER`` writes both files there (the wheel is built from the sdist), checks that the wheel
holds every file of the package, then installs each file with its ``cpu`` extra into an empty environment of every
Python 3.11 or newer that is on PATH or below ``~/.pyenv/versions``, and runs the command, its demo and the library from
a folder outside the checkout. Ends with 1 where one of them fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
OLDEST = (3, 11)
TRIAL = """
import importlib, pathlib, fgcam_onnx
from fgcam_onnx.cli.demo import bundled

home = pathlib.Path(fgcam_onnx.__file__).parent
assert "site-packages" in home.parts and (home / "py.typed").is_file() and bundled().parent == home
for name in fgcam_onnx.__all__:
    getattr(fgcam_onnx, name)
print(fgcam_onnx.__version__, len(list(pathlib.Path("demo").glob("*/*.png"))), "overlays")
"""


def pythons() -> dict[tuple[int, int], Path]:
    """Return an interpreter of each version that is there, the oldest first."""
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    folders += sorted((Path.home() / ".pyenv" / "versions").glob("*/bin"))
    found: dict[tuple[int, int], Path] = {sys.version_info[:2]: Path(sys.executable)}
    ask = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    for candidate in [path for folder in folders for path in sorted(folder.glob("python3.[0-9]*"))]:
        if candidate.name.removeprefix("python3.").isdigit():
            told = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
            if told.returncode == 0 and (version := tuple(map(int, told.stdout.split()))) >= OLDEST:
                found.setdefault((version[0], version[1]), candidate)
    return dict(sorted(found.items()))


def environment(python: Path, folder: Path, *packages: str) -> Path:
    """Make an environment with ``packages`` and return the folder of its commands."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    bin_ = folder / ("Scripts" if os.name == "nt" else "bin")
    install = [bin_ / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True)
    return bin_


def built(out: Path, work: Path) -> tuple[Path, Path]:
    """Build the sdist and, from it, the wheel; return both."""
    bin_ = environment(Path(sys.executable), work / "builder", "build")
    command = [bin_ / "python", "-m", "build", "--outdir", work / "files", ROOT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    out.mkdir(parents=True, exist_ok=True)
    moved = [path.replace(out / path.name) for path in sorted((work / "files").iterdir())]
    (sdist,) = (path for path in moved if path.name.endswith(".tar.gz"))
    (wheel,) = (path for path in moved if path.suffix == ".whl")
    return sdist, wheel


def lacking(wheel: Path) -> list[str]:
    """Return the files of the package that the wheel lacks, and those that it should not have."""
    tracked = subprocess.run(["git", "ls-files", "fgcam_onnx"], cwd=ROOT, capture_output=True, text=True, check=True)
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = {name for name in held if not name.startswith("fgcam_onnx/exported_models/")}
    return sorted(own.symmetric_difference(tracked.stdout.split()))


def tried(python: Path, file: Path, folder: Path) -> str:
    """Install ``file`` for ``python`` and use it; return what went wrong, or nothing."""
    try:
        bin_ = environment(python, folder / "venv", f"{file.resolve()}[cpu]")
        for command in ([bin_ / "fgcam", "demo"], [bin_ / "python", "-c", TRIAL]):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        return (error.stderr or str(error)).strip().splitlines()[-1]
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    out = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as work:
        files = built(out, Path(work))
        faults = lacking(files[1])
        print(f"{files[1].name}: {'all files of the package' if not faults else f'not as tracked: {faults}'}")
        for version, python in pythons().items():
            for file in files:
                folder = Path(work) / f"{version[1]}{file.suffix}"
                folder.mkdir()
                wrong = tried(python, file, folder)
                print(f"Python {version[0]}.{version[1]}, {file.name}: {wrong or 'installed, explains'}", flush=True)
                faults += [wrong] if wrong else []
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
