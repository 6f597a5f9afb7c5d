"""Time of exported Recipro-CAM files and of OpenVINO XAI's inserted Recipro-CAM, each beside the plain model.

Runs in the environment of ``tools/peers/peers_reciprocam.py``, with onnxruntime; files first, by this package::

    fgcam export MODEL -o FILE --method reciprocam --layer LAYER --set gaussian=false
    python tools/bench/bench_reciprocam.py MODEL FILE LAYER [tokens]

LAYER is the tensor behind which OpenVINO XAI masks, too; ``tokens`` asks for its ViTReciproCAM, which keeps the
Gaussian. One thread, float32, a batch of 1, all in turn, so that each meets the same load; the least time counts.
OpenVINO XAI's map is of all classes, ours of one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import openvino as ov
from openvino_xai import Task, insert_xai
from openvino_xai.common.parameters import Method

REPEAT = 15


def in_openvino(model: ov.Model, x: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
    """Return what runs ``model`` on ``x``."""
    model.reshape({model.inputs[0].get_any_name(): list(x.shape)})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = ov.Core().compile_model(model, "CPU", settings)
    names = [o.get_names() for o in compiled.outputs]
    return lambda: {n: v for each, v in zip(names, compiled([x]).values(), strict=True) for n in each}


def in_onnxruntime(path: str, x: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
    """Return what runs the file at ``path`` on ``x``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda: dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))


def main() -> None:
    """Time and print."""
    path, file, layer = sys.argv[1:4]
    read = ov.Core().read_model
    shape = [d.get_length() if d.is_static else 1 for d in read(path).inputs[0].partial_shape]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    node = next(o.get_friendly_name() for o in read(path).get_ordered_ops() if layer in output_names(o))
    tokens = len(sys.argv) > 4
    inserted = insert_xai(
        read(path),
        Task.CLASSIFICATION,
        explain_method=Method.VITRECIPROCAM if tokens else Method.RECIPROCAM,
        target_layer=node,
        embed_scaling=False,
    )
    runs = {
        "OpenVINO, plain": in_openvino(read(path), x),
        "OpenVINO, inserted by OpenVINO XAI": in_openvino(inserted, x),
        "OpenVINO, our file": in_openvino(read(file), x),
        "ONNX Runtime, plain": in_onnxruntime(path, x),
        "ONNX Runtime, our file": in_onnxruntime(file, x),
    }
    found = {name: run() for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEAT):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    for name in runs:
        plain = min(times[f"{name.partition(',')[0]}, plain"])
        print(f"{name}: {1000 * min(times[name]):.1f} ms, {min(times[name]) / plain:.2f} of plain")
    ours = found["ONNX Runtime, our file"]
    theirs = next(v for k, v in found["OpenVINO, inserted by OpenVINO XAI"].items() if "saliency" in k)
    m = theirs[0, int(ours["explanation_target"][0])]
    for engine in ("OpenVINO", "ONNX Runtime"):
        away = np.abs(found[f"{engine}, our file"]["explanation"][0] - m).max() / np.abs(m).max()
        print(f"{engine}, our map beside theirs, class {int(ours['explanation_target'][0])}: {away:.1e} off")


def output_names(op: ov.Node) -> set[str]:
    """Return the names that the outputs of ``op`` have in the ONNX file."""
    return {n for o in op.outputs() for n in o.get_names()}


if __name__ == "__main__":
    main()
