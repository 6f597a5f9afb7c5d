"""ATTENTION rows."""

from .method import Method

ATTENTION: dict[str, Method] = {}
