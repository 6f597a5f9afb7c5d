"""What is found out once of a model, and kept as long as the model is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from .model import Model

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


def once(find: Callable[Concatenate[Model, Asked], Found]) -> Callable[Concatenate[Model, Asked], Found]:
    """Return ``find`` with what it found kept in the model itself, so that it goes when the model goes."""

    @functools.wraps(find)
    def found(model: Model, /, *args: Asked.args, **named: Asked.kwargs) -> Found:
        key = (found, args, tuple(sorted(named.items())))
        if key not in model.memo:
            model.memo[key] = find(model, *args, **named)
        kept: Found = model.memo[key]
        return kept

    return found
