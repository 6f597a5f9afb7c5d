"""The names that the docs promise are the names that can be imported, and no others."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import numpy as np
import pytest
from floors import PACKAGE, ROOT, modules
from nets import images, small_cnn

import fgcam_onnx
from fgcam_onnx import vjp
from fgcam_onnx.errors import UnsupportedOperatorError
from fgcam_onnx.vjp import RULES

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROW = re.compile(r"^\| `(fgcam_onnx[\w.]*)` \| .+? \| (`.+`) \|$", re.MULTILINE)
PROMISED = {
    module: set(re.findall(r"`(\w+)`", names))
    for module, names in ROW.findall((ROOT / "docs" / "python.md").read_text())
}


def own_list(source: str) -> bool:
    """Tell whether a module says what is public."""
    return any(
        isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for node in ast.parse(source).body
    )


def test_modules_that_say_what_is_public_are_those_of_the_page() -> None:
    listed = {name for name, path in modules().items() if own_list(path.read_text())}
    assert PROMISED.keys() == {f"fgcam_onnx.{name}" if name != "__init__" else "fgcam_onnx" for name in listed}


@pytest.mark.parametrize("module", PROMISED)
def test_promised_names_are_the_importable_ones(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) == PROMISED[module]
    assert len(found.__all__) == len(set(found.__all__))
    for name in found.__all__:
        assert getattr(found, name) is not None


@pytest.mark.parametrize("module", PROMISED)
def test_public_names_have_docstrings(module: str) -> None:
    found = importlib.import_module(module)
    for name in found.__all__:
        value = getattr(found, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{module}.{name}"


@pytest.mark.parametrize("module", PROMISED)
def test_public_functions_have_two_positional_parameters_at_most(module: str) -> None:
    found = importlib.import_module(module)
    for name in found.__all__:
        value = getattr(found, name)
        if inspect.isfunction(value):
            kinds = [p.kind for p in inspect.signature(value).parameters.values()]
            assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2, f"{module}.{name}"


def test_the_docs_import_public_names_only() -> None:
    imported = 0
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fgcam_onnx"):
                    for alias in node.names:
                        whole = f"{node.module}.{alias.name}"
                        assert alias.name in PROMISED.get(node.module or "", ()) or whole in PROMISED, (
                            page.name,
                            whole,
                        )
                        imported += 1
    assert imported > 10


def test_the_package_is_typed_and_lists_its_lazy_names() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert set(fgcam_onnx.__all__) <= set(dir(fgcam_onnx))
    with pytest.raises(AttributeError, match="no attribute 'Explainers'"):
        fgcam_onnx.Explainers  # noqa: B018


def test_the_changelog_and_the_version_agree() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == fgcam_onnx.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", fgcam_onnx.__version__)


def test_a_row_of_ones_own_does_what_the_refusal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small_cnn(), images(1)
    before = fgcam_onnx.explain(model, x, target=0, method="saliency").map
    monkeypatch.delitem(RULES, "GlobalAveragePool")
    with pytest.raises(UnsupportedOperatorError, match=re.escape("fgcam_onnx.vjp.RULES['GlobalAveragePool'] = …")):
        fgcam_onnx.explain(model, x, target=0, method="saliency")
    monkeypatch.setitem(vjp.RULES, "GlobalAveragePool", (lambda g, y, x: g * np.ones_like(x) / np.prod(x.shape[2:]),))
    after = fgcam_onnx.explain(model, x, target=0, method="saliency").map
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-7)
