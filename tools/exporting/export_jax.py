"""Export the trained `vgg_shapes` from JAX (Flax NNX), by jax2onnx, with the weights of the PyTorch export.

In an environment of its own::

    pip install "jax==0.10.2" "flax==0.12.8" "jax2onnx==0.17.1" "onnx==1.23.2" "numpy==2.4.6"
    pip install onnxruntime pillow
    python tools/exporting/export_jax.py exported_models

jax2onnx writes the ReLUs of the sequence as ``Max`` with 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import jax.numpy as jnp
import onnx
from export_keras import BLOCKS, SIDE, Weights, channels_last, folder_argument, trained_weights, write
from flax import nnx
from jax2onnx import to_onnx


def with_weights(layer: nnx.Module, pair: tuple) -> nnx.Module:
    """Return the layer with a trained (weight, bias)."""
    layer.kernel, layer.bias = (nnx.Param(jnp.asarray(array)) for array in pair)
    return layer


def layers(weights: Weights) -> Iterator[Callable]:
    """Yield the net's layers, first to last, for (N, 96, 96, 3) pictures."""
    rngs, left, inputs = nnx.Rngs(0), iter(weights), 3
    for width, depth in BLOCKS:
        for _ in range(depth):
            yield with_weights(nnx.Conv(inputs, width, (3, 3), padding="SAME", rngs=rngs), next(left))
            yield nnx.relu
            inputs = width
        yield lambda x: nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
    yield lambda x: x.reshape(x.shape[0], -1)
    linear = partial(nnx.Linear, rngs=rngs)
    for pair in left:
        yield with_weights(linear(*pair[0].shape), pair)
        if pair is not weights[-1]:
            yield nnx.relu


def export(weights: Weights) -> onnx.ModelProto:
    """Return the net as jax2onnx writes it, opset 21."""
    return to_onnx(
        nnx.Sequential(*layers(weights)),
        [("batch", SIDE, SIDE, 3)],
        model_name="vgg_shapes",
        opset=21,
        input_names=["input"],
        output_names=["logits"],
    )


def main() -> None:
    """Export from JAX."""
    folder = folder_argument("JAX")
    model = export(channels_last(trained_weights(folder)))
    write(model, folder, "jax", layout="NHWC", packages=["jax2onnx", "flax", "jax"])


if __name__ == "__main__":
    main()
