"""Files that are no ONNX: what each is, told by its name and its first bytes, and how an ONNX file is made of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TORCH = 'in Python: torch.onnx.export(model.eval(), torch.randn(1, 3, 224, 224), "model.onnx", dynamo=True)'
KERAS = 'in Python: keras.models.load_model("FILE").export("model.onnx", format="onnx")'
CORE_ML = (
    "export the model that it was made of, or, where only this file is left: pip install onnxmltools coremltools, and "
    'onnxmltools.convert_coreml(coremltools.models.MLModel("FILE").get_spec())'
)
PADDLE = "paddle2onnx --model_dir FOLDER --model_filename FILE --save_file model.onnx"
NONE = "export the model that it was made of to ONNX"

KINDS: Mapping[str, tuple[str, str]] = {
    ".ckpt": ("a checkpoint of PyTorch's", f"load it into its network, and {TORCH}"),
    ".engine": ("an engine of TensorRT's", NONE),
    ".h5": ("a model of Keras'", KERAS),
    ".joblib": ("a model of scikit-learn's", "no picture's net is one; skl2onnx makes ONNX files of those"),
    ".keras": ("a model of Keras'", KERAS),
    ".mlmodel": ("a model of Core ML's", CORE_ML),
    ".mlpackage": ("a model of Core ML's", NONE),
    ".msgpack": ("weights of Flax's", "see jax2onnx, which exports the network with them"),
    ".ort": ("a model in ONNX Runtime's own format, which cannot be read back", "name the .onnx file it was made of"),
    ".pb": ("a graph of TensorFlow's", "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"),
    ".pdmodel": ("a model of PaddlePaddle's", PADDLE),
    ".pkl": ("a pickle, which is not opened: it could run anything", f"where it holds a network, {TORCH}"),
    ".plan": ("an engine of TensorRT's", NONE),
    ".pt": (
        "a model of PyTorch's",
        f"{TORCH}; of Ultralytics': yolo export model=FILE format=onnx",
    ),
    ".pth": ("weights of PyTorch's", f"load them into their network, and {TORCH}"),
    ".safetensors": (
        "weights without their network",
        f"load them into it, and {TORCH}; of Hugging Face's: optimum-cli export onnx --model FOLDER out",
    ),
    ".tflite": ("a model of TensorFlow Lite's", "python -m tf2onnx.convert --tflite FILE --output model.onnx"),
    ".torchscript": ("a model of PyTorch's", f"torch.jit.load it, and {TORCH}"),
    ".xml": ("a model of OpenVINO's", "name the ONNX file that it was converted from"),
}
"""What a file is by its ending, and how an ONNX file is had."""

PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
"""How pictures begin."""


def foreign(path: Path) -> str:
    """Return what is to be said of a file or folder that is known to be no ONNX model; nothing where that is open."""
    name = path.name
    if os.path.isdir(path):
        if os.path.isfile(path / "saved_model.pb"):
            way = f"python -m tf2onnx.convert --saved-model {path} --output model.onnx"
            return f"{path} is a SavedModel of TensorFlow's, no ONNX file. {way}"
        kind = KINDS.get(path.suffix.lower()) if path.suffix.lower() == ".mlpackage" else None
    elif os.path.isfile(path):
        try:
            with path.open("rb") as file:
                start = file.read(12)
        except OSError:
            return ""
        form = next((form for begins, form in PICTURES.items() if start.startswith(begins)), "")
        form = "WebP" if start[:4] == b"RIFF" and start[8:] == b"WEBP" else form
        if form and path.suffix.lower() != ".onnx":
            return f"{path} is a picture ({form}), not an ONNX file; the model comes first: MODEL, then pictures"
        kind = KINDS.get(path.suffix.lower())
    else:
        kind = None
    if kind is None:
        return ""
    what, way = kind
    return f"{path} is {what}, no ONNX file. {way.replace('FILE', name)}"
