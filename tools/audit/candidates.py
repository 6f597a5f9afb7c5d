"""The nets that are damaged, audited and mended, how they take photographs, and their int8 candidates."""

from __future__ import annotations

import functools
import json
import pathlib
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "coverage"))
from real_models import Photo, photographs, specification

from fgcam_onnx import Explainer, load
from fgcam_onnx.imaging import preprocess_from, read_image

NETS = {
    "resnet8": "keras_resnet8_cifar10_mlperftiny",
    "resnet20": "resnet20_onnc",
    "mcunet": "mcunet_in3_fp32_torch",
    "squeezenet": "squeezenet1.1_fp32_rebuilt",
    "mobilenet_v1": "keras_mobilenet_v1_0.25_224_imagenet",
    "shufflenet": "shufflenet_v2_fp32_dequant",
}
CALIBRATION = 16
EVERY = 100_000


@dataclass(frozen=True, eq=False)
class Net:
    """A float net, its row of ``models.json``, and a folder for what is made of it."""

    name: str
    path: pathlib.Path
    row: dict[str, Any]
    assets: pathlib.Path
    folder: pathlib.Path

    def photos(self, count: int, *, skip: int = 0) -> Sequence[Photo]:
        """Return photographs, those for calibration last."""
        return photographs(self.assets, self.row["task"], 100)[skip : skip + count]

    def others(self, count: int) -> Sequence[Photo]:
        """Return photographs that do not calibrate, spread over all that there are."""
        calibrating = {p.path for p in self.photos(CALIBRATION, skip=60)}
        every = [p for p in photographs(self.assets, self.row["task"], EVERY) if p.path not in calibrating]
        return [every[k] for k in np.linspace(0, len(every) - 1, min(count, len(every))).astype(int)]

    def prepared(self, photos: Sequence[Photo], **changes: Any) -> list[np.ndarray]:
        """Return photographs as the net takes them."""
        spec = load(self.path).inputs[0]
        preprocess = preprocess_from(specification(self.row) | changes).bound(spec.shape, spec.dtype)
        return [preprocess(read_image(p.path)) for p in photos]

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def _pictures(self, count: int) -> tuple[np.ndarray, ...]:
        return tuple(self.prepared(self.photos(count)))

    def pictures(self, count: int) -> list[np.ndarray]:
        """Return the photographs that are explained."""
        return list(self._pictures(count))

    def explainer(self, model: Any, *, method: str = "gradcam") -> Explainer:
        """Return what explains a form of the net."""
        return Explainer(model, method=method, threads=1)

    @property
    def quantized(self) -> pathlib.Path:
        """The net in int8, calibrated on photographs that are not explained."""
        return self.int8("plain", self.prepared(self.photos(CALIBRATION, skip=60)))

    def int8(self, name: str, calibration: Sequence[np.ndarray], **options: Any) -> pathlib.Path:
        """Return the net quantized by onnxruntime (QDQ); made once for each ``name``."""
        target = self.folder / f"{self.name}.{name}.int8.onnx"
        if not target.exists():
            with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
                warnings.simplefilter("ignore")
                quantize(self.path, target, calibration, pathlib.Path(folder), **options)
        return target


def quantize(
    source: pathlib.Path, target: pathlib.Path, calibration: Sequence[np.ndarray], folder: pathlib.Path, **options: Any
) -> None:
    """Quantize a file statically, at an opset that has scales for each channel."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = load(source)
    name = model.inputs[0].name

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{name: x} for x in calibration])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    raised = folder / "raised.onnx"
    onnx.save(model.standalone(), raised)
    ready = folder / "ready.onnx"
    quant_pre_process(str(raised), str(ready), skip_symbolic_shape=True)
    chosen = {"per_channel": True, "activation_type": quantization.QuantType.QUInt8, "reduce_range": True} | options
    quantization.quantize_static(str(ready), str(target), Reader(), quant_format=quantization.QuantFormat.QDQ, **chosen)


@functools.lru_cache(maxsize=16)
def net_of(assets: pathlib.Path, name: str, folder: pathlib.Path) -> Net:
    """Return a net by its short name."""
    rows = {r["file"]: r for r in json.loads((assets / "models" / "models.json").read_text())}
    file = f"{NETS[name]}.onnx"
    return Net(name, assets / "models" / file, rows[file], assets, folder)
