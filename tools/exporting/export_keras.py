"""Export the trained `vgg_shapes` from Keras, by tf2onnx, with the weights of the PyTorch export.

In an environment of its own::

    pip install "tensorflow-cpu==2.21.0" "keras==3.15.1" "tf2onnx==1.17.0" "onnx==1.23.2" "numpy==2.4.6"
    pip install onnxruntime pillow
    python tools/exporting/export_keras.py exported_models

What the exports from the other frameworks have in common is here too; TensorFlow is imported by `export`
alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.append(str(Path(__file__).parents[1] / "training"))
from shapes import SIDE, generate

SOURCE = "vgg_shapes.torchscript"
BLOCKS = ((16, 1), (32, 2), (48, 2), (64, 2))
"""Width of the convolutions and how many there are, before each max pool."""
HIDDEN, LOGITS = 32, 8
HELD_OUT_COUNT, HELD_OUT_SEED = 2_000, 2
TOLERANCE = 1e-4

Array = np.ndarray
Weights = list[tuple[Array, Array]]


def trained_weights(folder: Path) -> Weights:
    """Return (weight, bias) of the 7 convolutions (OIHW) and 2 linear layers (out, in), first to last."""
    graph = onnx.load(folder / f"{SOURCE}.onnx").graph
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    return [(arrays[n.input[1]], arrays[n.input[2]]) for n in graph.node if n.op_type in ("Conv", "Gemm")]


def channels_last(weights: Weights) -> Weights:
    """Return the weights for (N, H, W, C) activations: HWIO, (in, out), and rows in order of H, W, C."""
    result, channels = [], 0
    for weight, bias in weights:
        if weight.ndim == 4:
            channels = len(weight)
            weight = weight.transpose(2, 3, 1, 0)
        else:
            if channels:
                side = int((weight.shape[1] / channels) ** 0.5)
                weight = weight.reshape(len(weight), channels, side, side).transpose(0, 2, 3, 1)
                channels = 0
            weight = weight.reshape(len(weight), -1).T
        result.append((np.ascontiguousarray(weight), bias))
    return result


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without doc strings and metadata, which may hold paths."""
    graph = model.graph
    parts = (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output)
    for part in (model, graph, *parts):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model


def logits_of(path: Path, x: Array) -> Array:
    """Return the (N, 8) logits ONNX Runtime finds for a prepared batch, 100 pictures at a time."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[at : at + 100]})[0] for at in range(0, len(x), 100)])


def write(model: onnx.ModelProto, folder: Path, framework: str, *, layout: str, packages: list[str]) -> None:
    """Save an export and its sidecar, and hold its logits against the PyTorch export's.

    Raises
    ------
    SystemExit
        The logits differ on held-out pictures.
    """
    path = folder / f"vgg_shapes.{framework}.onnx"
    onnx.save(without_notes(model), path)
    sidecar = json.loads((folder / f"{SOURCE}.json").read_text())
    preprocess = sidecar["preprocess"]
    images, labels, _ = generate(HELD_OUT_COUNT, HELD_OUT_SEED)
    mean, std = (np.float32(preprocess[k][0]) for k in ("mean", "std"))
    x = (images * np.float32(preprocess["scale"]) - mean) / std
    expected = logits_of(folder / f"{SOURCE}.onnx", x.transpose(0, 3, 1, 2))
    found = logits_of(path, x if layout == "NHWC" else x.transpose(0, 3, 1, 2))
    error = float(np.abs(found - expected).max())
    if error > TOLERANCE:
        raise SystemExit(f"{path.name} is off by {error:.1e} from {SOURCE}")
    accuracy = round(float((found.argmax(1) == labels).mean()), 4)
    sidecar |= {
        "preprocess": preprocess | {"layout": layout},
        "accuracy": accuracy,
        "made_by": f"tools/export_{framework}.py",
        "exporter": ", ".join(f"{p} {version(p)}" for p in packages),
        "weights_from": f"{SOURCE}.onnx",
    }
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    print(f"{path.name}: accuracy {accuracy}, off by {error:.1e}, {path.stat().st_size} bytes")


def folder_argument(framework: str) -> Path:
    """Return the folder named on the command line."""
    parser = argparse.ArgumentParser(description=f"export vgg_shapes from {framework}")
    parser.add_argument("folder", type=Path)
    return parser.parse_args().folder


def export(weights: Weights) -> onnx.ModelProto:
    """Return the net of (N, 96, 96, 3) pictures as tf2onnx writes it, opset 18."""
    import keras
    import tensorflow as tf
    import tf2onnx

    layers = keras.layers
    x = picture = keras.Input((SIDE, SIDE, 3), name="input")
    for width, depth in BLOCKS:
        for _ in range(depth):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(HIDDEN, activation="relu")(layers.Flatten()(x))
    net = keras.Model(picture, layers.Dense(LOGITS, name="logits")(x))
    net.set_weights([array for pair in weights for array in pair])
    signature = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="input")]
    model, _ = tf2onnx.convert.from_keras(net, input_signature=signature, opset=18)
    return model


def main() -> None:
    """Export from Keras."""
    folder = folder_argument("Keras")
    model = export(channels_last(trained_weights(folder)))
    write(model, folder, "keras", layout="NHWC", packages=["tf2onnx", "keras", "tensorflow-cpu"])


if __name__ == "__main__":
    main()
