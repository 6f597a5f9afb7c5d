"""Dimensions as ONNX writes them: sizes, and symbols where a size is free."""

Dim = int | str | None
"""A dimension: its size, or a symbol or None where it is free (the batch)."""
Shape = tuple[Dim, ...]
