"""What is run everywhere: exported files, inputs, and what the explainer says the outputs are."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from trap_nets import write_traps

import fgcam_onnx
from fgcam_onnx.imaging import find_images, find_sidecar, preprocess_from, read_image
from fgcam_onnx.methods import METHODS
from fgcam_onnx.saving.ends import min_max, widened

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "exported_models"
BATCHES = (1, 3, 8)
CASES, SMALL = "cases.json", "small.json"
"""All cases that were written, and those of the small nets."""


@dataclass(frozen=True)
class Net:
    """A model to export from.

    Attributes
    ----------
    path : Path
    small : bool
        Whether every runtime runs it; the others run real models, too.
    methods : tuple of str
        The methods exported from it; every one that fits where none is named.
    made : bool
        Whether the run makes it.
    """

    name: str
    path: Path
    small: bool = True
    methods: tuple[str, ...] = ()
    made: bool = False


@dataclass(frozen=True)
class Case:
    """A file to run: a net, a method and how it is exported."""

    net: Net
    method: str
    variant: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of the case, and of its files."""
        return f"{self.net.name}-{self.method}{f'-{self.variant}' if self.variant else ''}".replace(" ", "-")

    @property
    def row(self) -> str:
        """Name of the table's row."""
        return f"{self.method}, {self.variant}" if self.variant else self.method


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "at the input": ("gradcam", {"layers": "input"}),
    "denoised": ("fgcam", {"denoise": True}),
    "from pixels": ("fgcam", {"pixels": True}),
}
"""Beside every method as it is by default: a few with options, by name."""

SHORTER = {"integratedgradients": {"steps": 8}, "iscam": {"samples": 2}}
"""Settings that make a method cheaper to run, and no other graph."""

REAL = {
    "mobilenet_v2_fp32_dequant": ("fgcam", "gradcam", "reciprocam", "relevancecam"),
    "regnetx200mf_fp32_dequant": ("fgcam", "gradcam", "relevancecam"),
    "resnet20_onnc": ("fgcam", "gradcam", "reciprocam", "relevancecam", "scorecam"),
    "shufflenet_v2_fp32_dequant": ("fgcam", "gradcam", "relevancecam"),
    "squeezenet1.1_fp32_rebuilt": ("fgcam", "gradcam", "reciprocam", "relevancecam"),
    "vit_tiny_patch16_224_opset17": ("gradcam", "layercam", "reciprocam"),
}
"""Models of FGCAM_ASSETS, where that is set."""


@dataclass(frozen=True)
class Written:
    """What was written, and why the rest was not.

    Attributes
    ----------
    cases : list of Case
    unfit : dict of str to str
        Cases whose method is not made for their net: the explainer refuses them, too.
    refused : dict of str to str
        Cases that the explainer takes and the export does not.
    """

    cases: list[Case]
    unfit: dict[str, str]
    refused: dict[str, str]


def exportable() -> list[str]:
    """Return the methods that are one graph."""
    return [name for name, method in METHODS.items() if method.append is not None]


def nets(folder: Path) -> list[Net]:
    """Return the nets, the real ones only where FGCAM_ASSETS names a folder that has them."""
    found = [Net(n, BUNDLED / f"{n}.onnx") for n in ("vgg_shapes.dynamo", "resnet_shapes.torchscript")]
    found.append(Net("vgg_shapes.keras", BUNDLED / "vgg_shapes.keras.onnx", methods=("fgcam", "gradcam")))
    found.append(Net("traps", folder / "traps.onnx", made=True))
    assets = Path(os.environ.get("FGCAM_ASSETS", "/nowhere")) / "models"
    found += [Net(n, assets / f"{n}.onnx", small=False, methods=m) for n, m in REAL.items()]
    return [n for n in found if n.made or n.path.is_file()]


def cases(folder: Path) -> list[Case]:
    """Return every case; nothing is written yet."""
    found = []
    for net in nets(folder):
        methods = net.methods or exportable()
        found += [Case(net, m, options=SHORTER.get(m, {})) for m in methods]
        if not net.methods:
            found += [
                Case(net, method, variant, options)
                for variant, (method, options) in VARIANTS.items()
                if not (net.made and "pixels" in options)
            ]
    return found


def write(folder: Path) -> Written:
    """Write every case's file, inputs and expected outputs, and the lists."""
    folder.mkdir(parents=True, exist_ok=True)
    write_traps(folder / "traps.onnx")
    written, unfit, refused, told = [], {}, {}, []
    for case in cases(folder):
        options = {k: v for k, v in case.options.items() if k != "pixels"}
        try:
            explainer = fgcam_onnx.Explainer(case.net.path, method=case.method, threads=1, **options)
        except fgcam_onnx.FgcamError as error:
            unfit[case.id] = str(error)
            continue
        try:
            told.append(_write_case(case, explainer, folder))
            written.append(case)
        except fgcam_onnx.FgcamError as error:
            refused[case.id] = str(error)
    small = {c.id for c in written if c.net.small}
    (folder / CASES).write_text(json.dumps(told, indent=1))
    (folder / SMALL).write_text(json.dumps([t for t in told if t["id"] in small], indent=1))
    return Written(written, unfit, refused)


def _write_case(case: Case, explainer: fgcam_onnx.Explainer, folder: Path) -> dict[str, Any]:
    pixels = case.options.get("pixels", False)
    spec = next(i for i in explainer.model.inputs if i.name == explainer.input)
    form: dict[str, Any] = {}
    if pixels:
        sidecar = find_sidecar(case.net.path)
        assert sidecar is not None
        form = {"preprocess": preprocess_from(sidecar), "resize": "input", "normalize": "minmax"}
    exported = fgcam_onnx.export(explainer, folder / f"{case.id}.onnx", target="input", **form)
    image, target = (i.name for i in exported.inputs)
    own = explainer.model.outputs[0].name
    outputs = [own, next(o.name for o in exported.outputs if o.name.startswith("explanation"))]
    batches = [n for n in BATCHES if spec.shape[0] in (None, n) or isinstance(spec.shape[0], str)]
    x, classes, wanted = _steady(explainer, case.net, max(batches), pixels=pixels)
    logits = _plain(case.net.path, explainer.input, x)
    given = _pictures(max(batches)) if pixels else x
    if pixels:
        wanted = min_max(widened(wanted, tuple(spec.shape[2:])))
    runs = []
    for n in batches:
        name = f"{case.id}.{n}"
        feeds = []
        for label, key, array in ((image, "x", given[:n]), (target, "target", classes[:n])):
            np.ascontiguousarray(array).tofile(folder / f"{name}.{key}.bin")
            feeds.append(
                {"name": label, "type": str(array.dtype), "dims": list(array.shape), "file": f"{name}.{key}.bin"}
            )
        for i, array in enumerate((logits[:n], wanted[:n])):
            np.ascontiguousarray(array, np.float32).tofile(folder / f"{name}.{i}.wanted.bin")
        runs.append({"id": name, "feeds": feeds})
    return {"id": case.id, "model": f"{case.id}.onnx", "outputs": outputs, "runs": runs}


def _steady(
    explainer: fgcam_onnx.Explainer, net: Net, count: int, *, pixels: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, classes and maps: of more inputs, those whose maps change least when they change by a millionth.

    Where an activation lies at a kink, or a denominator at 0, rounding decides, and no two runtimes round alike.
    """
    x, classes = _candidates(explainer, net)
    if pixels:  # the pictures are what they are: bytes cannot be changed by a millionth
        return x[:count], classes[:count], explainer(x[:count], target=classes[:count]).map
    wanted = explainer(x, target=classes).map
    away = np.zeros(len(x))
    for factor in (1 - 1e-6, 1 + 1e-6):
        moved = explainer((x * np.float32(factor)).astype(x.dtype), target=classes).map
        away = np.maximum(away, np.abs(moved - wanted).max((1, 2)))
    keep = np.sort(np.argsort(away, kind="stable")[:count])
    return x[keep], classes[keep], wanted[keep]


def _candidates(explainer: fgcam_onnx.Explainer, net: Net) -> tuple[np.ndarray, np.ndarray]:
    spec = next(i for i in explainer.model.inputs if i.name == explainer.input)
    rng = np.random.default_rng(3)
    if net.path.parent == BUNDLED:
        sidecar = find_sidecar(net.path)
        assert sidecar is not None
        preprocess = preprocess_from(sidecar).bound(spec.shape, spec.dtype)
        x = np.concatenate([preprocess(read_image(f)) for f in find_images([BUNDLED / "pictures"])])
        x = np.concatenate([x, x[::-1] + rng.normal(size=x.shape).astype(np.float32) / 10])
    else:
        x = rng.normal(size=(10, *(int(d) for d in spec.shape[1:] if d))).astype(np.float32)
    return x, rng.integers(0, 8, len(x))


@functools.cache
def _pictures(count: int) -> np.ndarray:
    """Return the bundled pictures as uint8 (N, 96, 96, 3)."""
    files = find_images([BUNDLED / "pictures"])[:count]
    return np.stack([np.asarray(read_image(f)) for f in files])


def _plain(path: Path, name: str, x: np.ndarray) -> np.ndarray:
    """Return what the model itself gives, in ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    whole = session.get_inputs()[0].shape[0]
    step = whole if isinstance(whole, int) else len(x)
    return np.concatenate([session.run(None, {name: x[i : i + step]})[0] for i in range(0, len(x), step)])
