"""Let torchvision be imported beside a PyTorch that its C extension was not built for.

Its operators (of which classification uses none) are declared where they are missing; import this first.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import torch


def declare() -> torch.library.Library | None:
    """Declare torchvision's operators, unless its own library has done so."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    if next(folder.glob("_C*.so"), None) is not None:
        try:
            torch.ops.load_library(next(folder.glob("_C*.so")))
            return None
        except OSError:
            pass
    library = torch.library.Library("torchvision", "FRAGMENT")
    text = (folder / "_meta_registrations.py").read_text()
    for name in sorted({*re.findall(r'register_meta\("(\w+)"', text), "nms", "qnms"}):
        library.define(f"{name}(Tensor x) -> Tensor")
    return library


LIBRARY = declare()
