"""torchvision and timm beside a CPU-only torch, where torchvision's extension does not load: declare its operators."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import torch

_spec = importlib.util.find_spec("torchvision")
_library = torch.library.Library("torchvision", "FRAGMENT")
if _spec is not None and _spec.submodule_search_locations:
    _text = (Path(_spec.submodule_search_locations[0]) / "_meta_registrations.py").read_text()
    for _name in sorted({*re.findall(r'register_meta\("(\w+)"', _text), "nms", "qnms"}):
        _library.define(f"{_name}(Tensor x) -> Tensor")

import timm  # noqa: E402
import torchvision  # noqa: E402

__all__ = ["timm", "torchvision"]
