"""CAMs by principal components: what is done to components, outside the graph or, for a file, inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.projection import kernel_principal, principal
from ..fgcam import by_channels
from ..graph.value import Value
from ..layers.layers import Layer
from ..program import Scored
from ..subspace import principal_part
from .method import Arrays, Feeds, Options

Finished = Callable[[Feeds, Arrays, NDArray[Any]], NDArray[np.float32]]


def principal_component(options: Options, layer: Layer) -> Finished:
    """Return the projection of components on their first principal component, channel by channel."""
    return lambda feeds, found, components: principal(components)


def append_principal(components: Value, layer: Layer) -> Value:
    """Append the same, found by subspace iteration; axes as ``layer`` has them."""
    return by_channels(principal_part, components, layer)


def principal_inside(options: Options, scored: Scored, layer: Layer, components: Value) -> Value:
    """Append it as the last step of a CAM."""
    return append_principal(components, layer)


def kernel_component(options: Options, layer: Layer) -> Finished:
    """Return the projection of activations on the first component of kernel PCA, without channels."""
    return lambda feeds, found, activations: kernel_principal(activations)
