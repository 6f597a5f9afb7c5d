"""Quantize float classifiers in every form that ONNX Runtime's quantizer writes, and compare their maps.

    python tools/coverage/quantized_forms.py ASSETS [--pictures 10] [--only vit]

ASSETS is laid out as for ``tools/real_models.py``. A row for each net, form and method: of how many pictures ONNX
Runtime, without this package, finds the same class in both files; of how many the explanations' classes are the same;
and for those the correlation of the quantized file's map with the float net's: median, 10 % and 90 %. Calibrated on
other photographs of the collection. Rows of int4 weights need ``onnx_ir``.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
from real_models import photographs, specification

from fgcam_onnx import Explainer, load
from fgcam_onnx.errors import FgcamError
from fgcam_onnx.imaging import preprocess_from, read_image

NETS = {
    "vit_tiny_patch16_224_opset17.onnx": "attnlrp",
    "mobilenet_v2_fp32_dequant.onnx": "fgcam",
    "shufflenet_v2_fp32_dequant.onnx": "fgcam",
    "regnetx200mf_fp32_dequant.onnx": "fgcam",
    "squeezenet1.1_fp32_rebuilt.onnx": "fgcam",
}
"""Float nets, and what is compared beside Grad-CAM."""

STATIC = {"QDQ": QuantFormat.QDQ, "QOperator": QuantFormat.QOperator}
PRODUCTS = ["Conv", "Gemm", "MatMul"]
"""What is quantized of a transformer: sums and functions have outliers that 8 bits of a whole tensor do not hold."""

CALIBRATED = 8


class Photographs(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
    """Prepared pictures, one at a time."""

    def __init__(self, name: str, arrays: list[np.ndarray]) -> None:
        self.left = iter([{name: a} for a in arrays])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next picture, None behind the last."""
        return next(self.left, None)


def forms_of(path: pathlib.Path, name: str, arrays: list[np.ndarray], folder: pathlib.Path) -> Iterator[Any]:
    """Yield each form's name and file; what the quantizer refuses, as its words."""
    raised = folder / "float.onnx"
    onnx.save(_raised(path), raised)
    some = {"products": PRODUCTS, "every operator": None} if "vit" in path.name else {"every operator": None}
    for form, layout in STATIC.items():
        for which, ops in some.items():
            to = folder / f"{form}.onnx"
            kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "op_types_to_quantize": ops}
            quantization.quantize_static(
                raised, to, Photographs(name, arrays), quant_format=layout, per_channel=True, reduce_range=True, **kinds
            )
            yield form if len(some) == 1 else f"{form}, {which}", to
    quantization.quantize_dynamic(raised, folder / "dynamic.onnx", weight_type=QuantType.QUInt8)
    yield "dynamic", folder / "dynamic.onnx"
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        yield "int4 weights", str(error)
        return
    quantizer = MatMulNBitsQuantizer(onnx.load(raised), bits=4, block_size=32, is_symmetric=False)
    quantizer.process()
    if any(n.op_type == "MatMulNBits" for n in quantizer.model.model.graph.node):
        onnx.save(quantizer.model.model, folder / "int4.onnx")
        yield "int4 weights", folder / "int4.onnx"


def _raised(path: pathlib.Path) -> onnx.ModelProto:
    """Return the file at an opset that its quantizer takes."""
    proto = onnx.load(path)
    opset = next(o.version for o in proto.opset_import if not o.domain)
    return proto if opset >= 13 else onnx.version_converter.convert_version(proto, 17)


def alike(path: pathlib.Path, file: pathlib.Path, name: str, arrays: list[np.ndarray]) -> int:
    """Return of how many pictures ONNX Runtime finds the same class in both files."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    both = [onnxruntime.InferenceSession(str(p), options, providers=["CPUExecutionProvider"]) for p in (path, file)]
    classes = ([int(s.run(None, {name: a})[0].argmax()) for a in arrays] for s in both)
    return sum(a == b for a, b in zip(*classes, strict=True))


def rows_of(path: pathlib.Path, row: dict[str, Any], assets: pathlib.Path, pictures: int) -> Iterator[str]:
    """Yield the table's rows of one net."""
    spec = load(path).inputs[0]
    preprocess = preprocess_from(specification(row)).bound(spec.shape, spec.dtype)
    photos = photographs(assets, "ImageNet-1k", pictures + CALIBRATED)
    arrays = [preprocess(read_image(p.path)) for p in photos]
    shown, calibrated = arrays[:pictures], arrays[pictures:]
    methods = ("gradcam", NETS[path.name])
    wanted = {m: [Explainer(path, method=m, threads=1)(x) for x in shown] for m in methods}
    with tempfile.TemporaryDirectory() as folder:
        for form, file in forms_of(path, spec.name, calibrated, pathlib.Path(folder)):
            if isinstance(file, str):
                yield f"| {path.stem} | {form} | | not quantized: {file} | | | | |"
                continue
            same = alike(path, file, spec.name, shown)
            for method in methods:
                try:
                    explainer = Explainer(file, method=method, threads=1)
                    found = [explainer(x) for x in shown]
                except FgcamError as error:
                    yield f"| {path.stem} | {form} | {method} | {error} | | | | |"
                    continue
                correlations = [
                    float(np.corrcoef(e.map.ravel(), q.map.ravel())[0, 1])
                    for e, q in zip(wanted[method], found, strict=True)
                    if e.target[0] == q.target[0]
                ]
                low, middle, high = np.percentile(correlations, [10, 50, 90]) if correlations else [float("nan")] * 3
                numbers = f"{same} | {len(correlations)} of {pictures} | {middle:.3f} | {low:.3f} | {high:.3f}"
                yield f"| {path.stem} | {form} | {method} | {numbers} |"


def main() -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=pathlib.Path)
    p.add_argument("--pictures", type=int, default=10)
    p.add_argument("--only", default="", help="a part of the files' names")
    a = p.parse_args()
    logging.disable(logging.ERROR)
    rows = {r["file"]: r for r in json.loads((a.assets / "models" / "models.json").read_text())}
    print("| net | form | method | same class in ONNX Runtime | here | median | 10 % | 90 % |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in NETS:
        if a.only in name:
            for line in rows_of(a.assets / "models" / name, rows[name], a.assets, a.pictures):
                print(line, flush=True)


if __name__ == "__main__":
    main()
