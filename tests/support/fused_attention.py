"""Attention as ONNX Runtime fuses it: operator, inputs and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
from spec import normal

X = normal(2, 3, 8)

ATTENTION: dict[str, tuple[str, list[np.ndarray | None], dict[str, Any]]] = {
    "Attention": ("Attention", [X, normal(8, 24), normal(24)], {"num_heads": 2}),
    "Attention, later tokens unseen": (
        "Attention",
        [X, normal(8, 24), normal(24)],
        {"num_heads": 2, "unidirectional": 1},
    ),
    "Attention of other values": (
        "Attention",
        [X, normal(8, 20), normal(20)],
        {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4], "scale": 0.3},
    ),
    "MultiHeadAttention": ("MultiHeadAttention", [X, normal(2, 5, 8), normal(2, 5, 6), normal(22)], {"num_heads": 2}),
}
