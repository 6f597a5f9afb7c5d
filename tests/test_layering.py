"""Imports point downwards only, and the heavy packages have one door each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fgcam_onnx"

LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("emptiness", "matrices", "wheels"),
    ("imaging", "graph", "metrics", "report", "stream"),
    ("loading", "layers", "surgery", "vjp", "backward", "runtime", "cam"),
    ("saving", "lrp", "quantized"),
    ("program", "subspace"),
    ("arguments", "arithmetic", "explanation", "fgcam", "opening", "support"),
    ("guessing",),
    ("heads",),
    ("targets",),
    ("methods",),
    ("assembling", "forward"),
    ("explainer",),
    ("adapters", "compat", "exporter", "feeding", "pictures", "sweep"),
    ("evaluation", "written"),
    ("audit", "scale"),
    ("cli",),
    ("__main__",),
)
DOORS = {
    "onnx": ("graph/", "loading/", "layers/", "surgery/", "saving/"),
    "onnx_graphsurgeon": ("graph/", "loading/"),
    "onnxruntime": ("wheels.py",),
}
NEVER = ("jax", "paddle", "tensorflow", "torch")


def imports(source: str) -> list[tuple[int, str]]:
    """Return (leading dots, module) of every import, ``if TYPE_CHECKING`` blocks aside."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            bare = [alias.name for alias in node.names] if not node.module else [node.module]
            found += [(node.level, name) for name in bare]
    return found


def faults(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of the module at ``path`` (relative to the package)."""
    level = {name: i for i, names in enumerate(LEVELS) for name in names}
    part = Path(path).parts[0].removesuffix(".py")
    depth = len(Path(path).parts)
    wrong = []
    for dots, module in imports(source):
        root = module.split(".")[0]
        inside = dots == depth or (dots == 0 and module.startswith("fgcam_onnx."))
        if inside and part != "__init__":
            target = (module.removeprefix("fgcam_onnx.") if dots == 0 else module).split(".")[0]
            if target not in level:
                if target != "__version__":
                    wrong.append(f"{path}: {target} has no level")
            elif target != part and level[target] > level[part]:
                wrong.append(f"{path} imports {target}, which lies above it")
        if dots == 0 and root in DOORS and not path.startswith(DOORS[root]):
            wrong.append(f"{path} imports {root}, which only {', '.join(DOORS[root])} may")
        if dots == 0 and root in NEVER:
            wrong.append(f"{path} imports {root}, which belongs in tools/")
    return wrong


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


@pytest.mark.parametrize("path", modules())
def test_files_are_small(path: str) -> None:
    assert len((PACKAGE / path).read_text().splitlines()) <= 350
