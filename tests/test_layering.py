"""Imports point downwards only, rooms say what they import, heavy packages have one door each, and files are small."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import floors
import pytest
from floors import PACKAGE, ROOT, import_graph, imports

LEVELS: tuple[tuple[str, ...], ...] = (
    ("files", "text"),
    ("defaults", "errors", "version"),
    ("asked", "emptiness", "matrices", "traced", "wheels"),
    ("imaging", "graph", "metrics", "ranking", "report"),
    ("gallery", "stream", "loading", "layers", "vjp", "backward", "cam"),
    ("saving", "lrp", "quantized", "surgery", "cells"),
    ("guiding", "program", "runtime", "subspace"),
    ("arguments", "arithmetic", "fgcam", "opening", "sizes", "support"),
    ("maps",),
    ("explanation", "guessing"),
    ("heads", "preparing"),
    ("targets",),
    ("methods",),
    ("assembling", "forward"),
    ("explainer",),
    ("adapters", "blame", "compat", "exporter", "feeding"),
    ("hand", "page", "pictures"),
    ("sweep",),
    ("evaluation", "notebook", "written"),
    ("auditing", "batch"),
    ("cli",),
    ("__main__",),
)
DOORS = {
    "fsspec": ("stream/",),
    "onnx": ("graph/", "loading/", "layers/", "surgery/", "saving/"),
    "onnx_graphsurgeon": ("graph/", "loading/"),
    "onnxruntime": ("wheels.py",),
    "pyarrow": ("batch/", "stream/"),
    "ray": ("batch/dataset.py", "stream/cluster.py", "stream/rays.py"),
}
NEVER = ("jax", "paddle", "tensorflow", "torch")


def faults(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of the module at ``path`` (relative to the package)."""
    level = {name: i for i, names in enumerate(LEVELS) for name in names}
    part = Path(path).parts[0].removesuffix(".py")
    depth = len(Path(path).parts)
    wrong = []
    for dots, module, names in imports(source):
        root = module.split(".")[0]
        inside = dots == depth or (dots == 0 and module.startswith("fgcam_onnx."))
        if inside and part != "__init__":
            whole = module.removeprefix("fgcam_onnx.") if dots == 0 else module
            for target in {whole.split(".")[0]} if whole else set(names):
                if target not in level:
                    wrong.append(f"{path}: {target} has no level")
                elif target != part and level[target] >= level[part]:
                    wrong.append(f"{path} imports {target}, which lies above it or beside it")
        if dots == 0 and root in DOORS and not path.startswith(DOORS[root]):
            wrong.append(f"{path} imports {root}, which only {', '.join(DOORS[root])} may")
        if dots == 0 and root in NEVER:
            wrong.append(f"{path} imports {root}, which belongs in tools/")
    return wrong


def promised(docstring: str) -> set[str]:
    """Return what the sentence ``Imports a, b and c.`` of a room's docstring names."""
    sentence = re.search(r"^Imports ([a-z_,\s]+)\.$", docstring, re.MULTILINE)
    assert sentence, "a room's docstring says what it imports: 'Imports errors and graph.'"
    return set(re.split(r",\s*|\s+and\s+", sentence[1])) - {"nothing"}


@functools.cache
def house() -> floors.Graph:
    """Return the imports of the whole package, read once."""
    return import_graph()


def rooms() -> list[str]:
    return sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))


def modules() -> list[str]:
    return sorted(str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules())
def test_imports_point_downwards(path: str) -> None:
    assert faults(path, (PACKAGE / path).read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from ..explainer import Explainer",
        "from fgcam_onnx.cli import main",
        "def f():\n    from ..methods import METHODS",
        "import onnx",
        "import torch",
    ],
)
def test_an_upward_import_is_found(source: str) -> None:
    """Negative control."""
    assert faults("vjp/elementwise.py", source)


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_what_its_docstring_says(room: str) -> None:
    said = promised(ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or "")
    read = {
        other.split(".")[0] for module, others in house().items() if module.split(".")[0] == room for other in others
    }
    assert said == {"anything"} or read - {room} == said


def test_no_files_import_each_other_in_a_circle() -> None:
    assert floors.circles(house()) == []


def test_types_close_one_circle_only() -> None:
    """An emitter gives out values, and a value writes through its emitter."""
    assert floors.circles(import_graph(typing=True)) == [("graph.emitter", "graph.value")]


def test_a_circle_is_found_and_stands_on_no_floor(tmp_path: Path) -> None:
    """Negative control, with a relative, an absolute and a late import."""
    house = tmp_path / "fgcam_onnx"
    (house / "room").mkdir(parents=True)
    for name, source in {
        "__init__": "",
        "room/__init__": "",
        "low": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import x",
        "one": "from .room import two\nfrom .low import y",
        "room/two": "from fgcam_onnx.three import x",
        "three": "def f():\n    from . import one",
    }.items():
        (house / f"{name}.py").write_text(source)
    graph = import_graph(house)
    assert floors.circles(graph) == [("one", "room.two", "three")]
    assert floors.floors(graph) == [["__init__", "low", "room"]]
    assert floors.circles(import_graph(house, typing=True)) == [("low", "one", "room.two", "three")]


def test_the_architecture_page_has_the_floors() -> None:
    page = floors.PAGE.read_text()
    assert page == floors.written(page, house()), "run: python tools/house/floors.py --write"


@pytest.mark.parametrize("part", floors.PARTS)
def test_files_are_small(part: str) -> None:
    assert {path.as_posix(): n for path, n in floors.lengths(part).items() if n > 350} == {}


def test_every_tool_stands_in_a_room_that_the_readme_names() -> None:
    readme = (ROOT / "tools" / "README.md").read_text()
    for path in floors.lengths("tools"):
        assert f"`{path.name}`" in readme, path
