"""Models whose weights mean nothing any more, to see whether a map notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import ModelError
from ..graph.model import Model

FEWEST = 16
"""Constants with fewer elements, or a single axis, are no weights."""


def weights_of(model: Model) -> list[str]:
    """Return the constants that are weights, from the one used last to the one used first."""
    used = [name for node in model.nodes for name in node.input]
    weights = [
        name
        for name in dict.fromkeys(used)
        if (array := model.constants.get(name)) is not None
        and array.ndim > 1
        and array.size >= FEWEST
        and array.dtype.name not in ("int32", "int64", "uint32", "uint64", "bool", "object")
    ]
    return weights[::-1]


def shuffled(model: Model, how: str, *, place: float, seed: int) -> Model:
    """Return the model with the elements of some weights in an order drawn at random, their values as they were.

    Parameters
    ----------
    model : Model
    how : {"cascading", "independent"}
        All weights from the output down to ``place``, or the one there alone.
    place : float
        From 0, the weights nearest to the output, to 1, those nearest to the input.
    seed : int

    Raises
    ------
    ModelError
        It has no weights.
    """
    names = weights_of(model)
    if not names:
        raise ModelError("the model has no weights that could be shuffled")
    at = round(place * (len(names) - 1))
    chosen = names[: at + 1] if how == "cascading" else [names[at]]
    constants = dict(model.constants)
    for name in chosen:
        array = constants[name]
        order = np.random.default_rng([seed, names.index(name)]).permutation(array.size)
        constants[name] = array.reshape(-1)[order].reshape(array.shape)
    return replace(model, constants=constants)
