"""Export the trained `vgg_shapes` from PaddlePaddle, by Paddle2ONNX, with the weights of the PyTorch export.

In an environment of its own::

    pip install "paddlepaddle==3.3.1" "paddle2onnx==2.1.0" "onnx==1.17.0" "numpy==2.4.6" packaging
    pip install onnxruntime onnx-graphsurgeon sympy pillow
    python tools/exporting/export_paddle.py exported_models

Paddle2ONNX folds constants with Polygraphy, which would install onnxruntime, onnx-graphsurgeon and sympy
while it runs if they were missing; that is switched off here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["POLYGRAPHY_AUTOINSTALL_DEPS"] = "0"

import onnx
import paddle
from export_keras import BLOCKS, HIDDEN, LOGITS, SIDE, Weights, folder_argument, trained_weights, write
from paddle import nn
from paddle.static import InputSpec


def network(weights: Weights) -> nn.Layer:
    """Return the net of (N, 3, 96, 96) pictures, trained."""
    layers: list[nn.Layer] = []
    inputs = 3
    for width, depth in BLOCKS:
        for _ in range(depth):
            layers += [nn.Conv2D(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2D(2))
    flat = inputs * (SIDE // 16) ** 2
    layers += [nn.Flatten(), nn.Linear(flat, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, LOGITS)]
    trainable = [layer for layer in layers if isinstance(layer, (nn.Conv2D, nn.Linear))]
    for layer, (weight, bias) in zip(trainable, weights, strict=True):
        layer.weight.set_value(weight if weight.ndim == 4 else weight.T.copy())
        layer.bias.set_value(bias)
    net = nn.Sequential(*layers)
    net.eval()
    return net


def export(weights: Weights) -> onnx.ModelProto:
    """Return the net as Paddle2ONNX writes it, opset 17."""
    spec = [InputSpec([None, 3, SIDE, SIDE], "float32", name="input")]
    with tempfile.TemporaryDirectory() as scratch:
        stem = Path(scratch) / "vgg_shapes"
        paddle.onnx.export(network(weights), str(stem), input_spec=spec, opset_version=17)
        return onnx.load(f"{stem}.onnx")


def main() -> None:
    """Export from PaddlePaddle."""
    folder = folder_argument("PaddlePaddle")
    model = export(trained_weights(folder))
    write(model, folder, "paddle", layout="NCHW", packages=["paddle2onnx", "paddlepaddle"])


if __name__ == "__main__":
    main()
