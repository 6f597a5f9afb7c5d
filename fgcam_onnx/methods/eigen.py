"""CAMs by principal components, found outside the graph: what is done to components for each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cam.projection import kernel_principal, principal
from ..graph.layers import Layer
from .method import Arrays, Feeds, Options

Finished = Callable[[Feeds, Arrays, NDArray[Any]], NDArray[np.float32]]


def principal_component(options: Options, layer: Layer) -> Finished:
    """Return the projection of components on their first principal component, channel by channel."""
    return lambda feeds, found, components: principal(components)


def kernel_component(options: Options, layer: Layer) -> Finished:
    """Return the projection of activations on the first component of kernel PCA, without channels."""
    return lambda feeds, found, activations: kernel_principal(activations)
