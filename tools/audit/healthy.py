"""Audit pairs of files that are sound: what belongs together among the real models, and the bundled nets quantized.

Prints the table of docs/audit.md::

    python tools/audit/healthy.py ASSETS OUT/healthy --pictures 40

Calibration takes other pictures than the audit. A run that was stopped goes on where it was. ``--only TEXT`` takes the
pairs whose names have the text.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from arguments import of_measurement
from PIL import Image

import fgcam_onnx
from fgcam_onnx.auditing import Audit
from fgcam_onnx.imaging import Preprocess, preprocess_from, read_image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "training"))
BUNDLED = ROOT / "exported_models"
CALIBRATION = 32
SHOWN = ("flips", "confidence", "spearman", "ssim", "emd")


@dataclass(frozen=True)
class Pair:
    """Two files, how pictures are prepared for each, the pictures, and what the files are."""

    name: str
    reference: Path
    candidate: Path
    preprocess: Preprocess
    candidate_preprocess: Preprocess
    pictures: Sequence[Path]
    options: Mapping[str, Any]


def drawn(folder: Path, count: int, *, seed: int) -> list[Path]:
    """Draw pictures for the bundled nets."""
    import shapes

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{n:03d}.png" for n in range(count)]
    if not all(f.exists() for f in files):
        for file, pixels in zip(files, shapes.generate(count, seed)[0], strict=True):
            Image.fromarray(pixels).save(file)
    return files


def quantized(
    source: Path, folder: Path, *, preprocess: Preprocess, pictures: Sequence[Path]
) -> Iterator[tuple[str, Path]]:
    """Quantize a model by ONNX Runtime in three forms, per channel where the form has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnxruntime import quantization as q

    model = fgcam_onnx.load(source)
    spec = model.inputs[0]
    bound = preprocess.bound(spec.shape, spec.dtype)

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(pictures[:CALIBRATION])

        def get_next(self) -> dict[str, np.ndarray] | None:
            file = next(self.left, None)
            return None if file is None else {spec.name: bound(read_image(file))}

    static = {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QInt8, "per_channel": True}
    forms: dict[str, Callable[[Path], None]] = {
        "QDQ": lambda to: q.quantize_static(str(source), str(to), Reader(), quant_format=q.QuantFormat.QDQ, **static),
        "QOperator": lambda to: q.quantize_static(
            str(source), str(to), Reader(), quant_format=q.QuantFormat.QOperator, **static
        ),
        "dynamic": lambda to: q.quantize_dynamic(str(source), str(to), weight_type=q.QuantType.QUInt8),
    }
    for form, make in forms.items():
        target = folder / f"{source.stem}.{form}.onnx"
        if not target.exists():
            make(target)
        yield form, target


def prepared(entry: Mapping[str, Any]) -> Preprocess:
    """Return the preprocessing that ``models.json`` tells."""
    told = entry["preprocess"]
    numbers = {"scale": told["scale"], "mean": tuple(told["mean"]), "std": tuple(told["std"])}
    return Preprocess(**numbers, channels=told["channel_order"], dtype=told.get("dtype"))


def pairs(assets: Path, folder: Path, count: int) -> Iterator[Pair]:
    """Yield the pairs."""
    entries = {e["file"]: e for e in json.loads((assets / "models" / "models.json").read_text())}
    photographs = sorted((assets / "images" / "val").glob("*"))
    small = sorted((assets / "images" / "cifar10").glob("*"))

    def real(a: str, b: str, name: str, **options: Any) -> Pair:
        files = [assets / "models" / f"{n}.onnx" for n in (a, b)]
        own, other = (prepared(entries[f.name]) for f in files)
        task = entries[files[0].name]["task"]
        chosen = small[:count] if "CIFAR" in task else photographs[100 : 100 + count]
        return Pair(name, files[0], files[1], own, other, chosen, options)

    v2, zoo = "mobilenet_v2_fp32_dequant", "mobilenetv2-12-qdq"
    yield real(v2, "mobilenet_v2_dynint8_edge_bench", "MobileNetV2, dynamic int8")
    yield real(zoo, "mobilenetv2-12-int8", "MobileNetV2 (zoo), QDQ to QOperator")
    yield real("shufflenet_v2_fp32_dequant", "shufflenet-v2-12-int8", "ShuffleNetV2, QOperator")
    yield real("mcunet_in3_fp32_torch", "tflite_mcunet-320kb-1mb_imagenet", "MCUNet, TFLite int8 (NHWC)")
    tflite = "tflite_mobilenet_v2_1.0_224_quant"
    for name, file in (("MobileNetV2 (TFLite)", tflite), ("ResNet8 (QOperator)", "mlperftiny_resnet8_cifar10_int8")):
        yield real(file, file, f"{name}, optimisations off", candidate_options={"optimization": "off"})
    yield real(zoo, zoo, "MobileNetV2 (zoo), int8 exact", candidate_options={"int8": "exact"})
    drawings = drawn(folder / "drawn", count + CALIBRATION, seed=77)
    for net in ("vgg_shapes", "resnet_shapes"):
        source = BUNDLED / f"{net}.torchscript.onnx"
        own = preprocess_from(source.with_suffix(".json"))
        for form, file in quantized(source, folder, preprocess=own, pictures=drawings[count:]):
            yield Pair(f"{net}, {form}", source, file, own, own, drawings[:count], {})
    for exporter in ("dynamo", "keras", "jax", "paddle"):
        source, file = BUNDLED / "vgg_shapes.torchscript.onnx", BUNDLED / f"vgg_shapes.{exporter}.onnx"
        own, other = (preprocess_from(f.with_suffix(".json")) for f in (source, file))
        yield Pair(f"vgg_shapes, {exporter}", source, file, own, other, drawings[:count], {})
    for name, photos in (
        ("keras_resnet8_cifar10_mlperftiny", small),
        ("mobilenet_v2_fp32_dequant", photographs),
        ("squeezenet1.1_fp32_rebuilt", photographs),
    ):
        base = real(name, name, name)
        for form, file in quantized(base.reference, folder, preprocess=base.preprocess, pictures=photos[-CALIBRATION:]):
            yield replace(base, name=f"{name.split('_cifar')[0].split('_fp32')[0]}, {form}", candidate=file)


def audited(pair: Pair, out: Path) -> Audit:
    """Audit a pair."""
    return fgcam_onnx.audit(
        pair.reference, pair.candidate, images=pair.pictures, preprocess=pair.preprocess,
        candidate_preprocess=pair.candidate_preprocess, out=out, pictures=6, threads=1, batch=4, **pair.options,
    )  # fmt: skip


def row(name: str, found: Audit) -> str:
    """Return a row of the table: medians with 10 % and 90 % of each measure, and the floor's median."""
    cells = [name, str(len(found.known))]
    for measure in SHOWN:
        values = found.values(measure)
        floors = [found.values(measure, c.name) for c in found.changes]
        drifts = np.stack(floors)
        worst = np.nanmin(drifts, 0) if measure in ("spearman", "ssim") else np.nanmax(drifts, 0)
        if measure == "flips":
            cells.append(f"{np.nanmean(values):.2f} ({np.nanmean(worst):.2f})")
        else:
            low, mid, high = np.nanquantile(values, [0.1, 0.5, 0.9])
            cells.append(f"{mid:.3f} [{low:.3f}, {high:.3f}] ({np.nanmedian(worst):.3f})")
    return f"| {' | '.join([*cells, found.outcome])} |"


def main() -> None:
    parser = of_measurement(__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print("| pair | n | " + " | ".join(SHOWN) + " | verdict |\n| --- | ---: |" + " ---: |" * len(SHOWN) + " --- |")
    for pair in pairs(given.assets, given.out, given.pictures):
        if re.search(given.only, pair.name):
            name = pair.name.replace(", ", ".").replace(" ", "_")
            print(row(pair.name, audited(pair, given.out / f"audit.{name}")), flush=True)


if __name__ == "__main__":
    main()
