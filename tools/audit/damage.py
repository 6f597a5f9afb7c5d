"""Damage a model in a way that deployments do, or change its file in a way that harms nothing; both seeded.

    python tools/audit/damage.py MODEL KIND -o FILE [--seed 0] [--layer TENSOR]
    python tools/audit/damage.py --list

A damage of a layer is done to one layer with weights, drawn by the seed unless it is named by the tensor that it makes.
MODEL may be float, or quantized (QDQ or QOperator, which is written as QDQ). Prints the layer. What is done to pictures
instead of the model (``bgr``, ``mean``, ``stretched``) changes a preprocessing file: MODEL is then that JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from arguments import of_change
from onnx import ModelProto, NodeProto

from fgcam_onnx import load
from fgcam_onnx.blame.skeleton import Joint, skeleton_of
from fgcam_onnx.graph.facts import producers_of
from fgcam_onnx.graph.model import Model
from fgcam_onnx.graph.score import find_score
from fgcam_onnx.loading.loading import bind
from fgcam_onnx.surgery.unfused import unfused

Array = np.ndarray[Any, Any]


class UnfitError(Exception):
    """The layer cannot be damaged in this way."""


@dataclass
class Layer:
    """A layer of a model that is being changed, its arrays with the output channels first."""

    model: Model
    joint: Joint
    rng: np.random.Generator
    constants: dict[str, Array] = field(init=False)
    nodes: list[NodeProto] = field(init=False)

    def __post_init__(self) -> None:
        self.constants = dict(self.model.constants)
        self.nodes = list(self.model.nodes)
        self.node = producers_of(self.model)[self.joint.name]
        maker = producers_of(self.model).get(self.joint.weight)
        self.quantizer = maker if maker is not None and maker.op_type == "DequantizeLinear" else None
        self.name = self.joint.weight if self.quantizer is None else self.quantizer.input[0]
        if self.name not in self.constants:
            raise UnfitError("the weight is computed")
        turned = any(a.name == "transB" and a.i for a in self.node.attribute)
        products = self.node.op_type == "MatMul" or (self.node.op_type == "Gemm" and not turned)
        self.axis = -1 if products else 1 if self.node.op_type == "ConvTranspose" else 0

    @property
    def rows(self) -> Array:
        """The weight as it is stored, a copy."""
        return np.moveaxis(np.array(self.constants[self.name]), self.axis, 0)

    @rows.setter
    def rows(self, values: Array) -> None:
        kind = self.constants[self.name].dtype
        limits = np.iinfo(kind) if kind.kind in "iu" else None
        values = values if limits is None else np.clip(np.round(values), limits.min, limits.max)
        self.constants[self.name] = np.ascontiguousarray(np.moveaxis(values, 0, self.axis).astype(kind))

    @property
    def zero(self) -> float:
        """The stored number that means 0; per-channel zero points of weights are 0 here."""
        known = (
            self.constants.get(self.quantizer.input[2]) if self.quantizer and len(self.quantizer.input) > 2 else None
        )
        return 0.0 if known is None else float(np.asarray(known).reshape(-1)[0])

    def of_channels(self) -> list[str]:
        """Return the other constants with a number for each output channel: bias, and scales of both."""
        names = [self.joint.bias, *(self.quantizer.input[1:2] if self.quantizer else ())]
        maker = producers_of(self.model).get(self.joint.bias)
        if maker is not None and maker.op_type == "DequantizeLinear":
            names = [maker.input[0], maker.input[1], *names[1:]]
        count = len(self.rows)
        return [n for n in names if n in self.constants and self.constants[n].reshape(-1).shape == (count,)]

    def loudest(self, count: int) -> Array:
        """Return channels drawn among the louder half."""
        strength = np.abs(self.rows.astype(np.float64) - self.zero).reshape(len(self.rows), -1).sum(1)
        half = np.argsort(-strength)[: max(count, len(strength) // 2)]
        if len(half) < count:
            raise UnfitError("the layer has too few channels")
        return self.rng.choice(half, count, replace=False)

    def done(self) -> Model:
        """Return the changed model."""
        proto = ModelProto()
        proto.CopyFrom(self.model.proto)
        del proto.graph.node[:]
        proto.graph.node.extend(self.nodes)
        return bind(replace(self.model, proto=proto, constants=self.constants, types={}), {})

    def ends(self) -> tuple[str, str]:
        """Return the scale and zero point of the quantizer behind the layer."""
        makers, name = producers_of(self.model), self.joint.end
        while (node := makers.get(name)) is not None and node.op_type in ("DequantizeLinear", "Reshape"):
            name = node.input[0]
        if node is None or node.op_type != "QuantizeLinear" or len(node.input) < 3:
            raise UnfitError("no quantizer follows")
        return node.input[1], node.input[2]

    def rewired(self, changes: dict[str, str]) -> None:
        """Let the quantizers behind the layer read other constants."""
        kept = []
        for node in self.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
                copy.input[:] = [changes.get(i, i) for i in node.input]
            kept.append(copy)
        self.nodes = kept


def doubled(x: Layer) -> None:
    """Take the layer's scale for twice what it is."""
    if x.quantizer is None:
        x.rows = x.rows * 2
    else:
        x.constants[x.quantizer.input[1]] = x.constants[x.quantizer.input[1]] * np.float32(2)


def zeroed(x: Layer) -> None:
    """Zero one channel."""
    (k,) = x.loudest(1)
    rows = x.rows
    rows[k] = x.zero
    x.rows = rows
    for name in x.of_channels()[: 1 if x.joint.bias else 0]:
        array = np.array(x.constants[name])
        array.reshape(-1)[k] = 0
        x.constants[name] = array


def clipped(x: Layer) -> None:
    """Clip the weights of one channel at a tenth of their largest."""
    (k,) = x.loudest(1)
    rows = x.rows.astype(np.float64) - x.zero
    bound = np.abs(rows[k]).max() / 10
    rows[k] = np.clip(rows[k], -bound, bound)
    x.rows = rows + x.zero


def negated(x: Layer) -> None:
    """Negate the weights."""
    x.rows = 2 * x.zero - x.rows.astype(np.float64)


def swapped(x: Layer) -> None:
    """Exchange two channels, with their biases and scales."""
    i, j = x.loudest(2)
    x.rows = _exchanged(x.rows, i, j)
    for name in x.of_channels():
        x.constants[name] = _exchanged(x.constants[name].reshape(-1), i, j).reshape(x.constants[name].shape)


def permuted(x: Layer) -> None:
    """Permute all channels; of the last layer (kind ``labels``) that puts the labels in another order."""
    order = x.rng.permutation(len(x.rows))
    x.rows = x.rows[order]
    for name in x.of_channels():
        x.constants[name] = x.constants[name].reshape(-1)[order].reshape(x.constants[name].shape)


def mirrored(x: Layer) -> None:
    """Mirror the kernel, as where convolution is taken for correlation."""
    rows = x.rows
    if rows.ndim < 4 or rows.shape[-1] < 3:
        raise UnfitError("the kernel is one element")
    x.rows = rows[..., ::-1, ::-1]


def coarse(x: Layer) -> None:
    """Store the weights with one scale of four bits, where each channel needs one of its own."""
    rows = x.rows.astype(np.float64) - x.zero
    step = np.abs(rows).max() / 7
    x.rows = np.round(rows / step) * step + x.zero


def noisy(x: Layer) -> None:
    """Add noise of half the weights' deviation."""
    rows = x.rows.astype(np.float64)
    x.rows = rows + x.rng.normal(0, (rows - x.zero).std() / 2, rows.shape)


def pruned(x: Layer) -> None:
    """Zero the smaller four fifths of the weights."""
    rows = x.rows.astype(np.float64) - x.zero
    x.rows = np.where(np.abs(rows) < np.quantile(np.abs(rows), 0.8), 0, rows) + x.zero


def unbiased(x: Layer) -> None:
    """Lose the bias."""
    names = x.of_channels()[:1]
    if not x.joint.bias or not names:
        raise UnfitError("no bias")
    x.constants[names[0]] = np.zeros_like(x.constants[names[0]])


def shifted(x: Layer) -> None:
    """Pad at the other end, as where two frameworks disagree on SAME."""
    kept = []
    for node in x.nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.output[0] == x.node.output[0]:
            (pads,) = [a for a in copy.attribute if a.name == "pads"] or [None]
            if pads is None or not any(pads.ints):
                raise UnfitError("nothing is padded")
            half = len(pads.ints) // 2
            both = [a + b for a, b in zip(pads.ints[:half], pads.ints[half:], strict=True)]
            pads.ints[:] = [0] * half + both if list(pads.ints[half:]) != both else both + [0] * half
        kept.append(copy)
    x.nodes = kept


def saturated(x: Layer) -> None:
    """Quantize the results with a quarter of the scale that they need."""
    scale, _ = x.ends()
    x.constants[f"{scale}/damaged"] = x.constants[scale] * np.float32(0.25)
    x.rewired({scale: f"{scale}/damaged"})


def off_zero(x: Layer) -> None:
    """Quantize the results with a zero point in the middle of what they need."""
    _, zero = x.ends()
    array = x.constants[zero]
    limits = np.iinfo(array.dtype)
    middle = (limits.max + limits.min + 1) // 2
    moved = limits.max - 40 if abs(int(array.reshape(-1)[0]) - middle) < 40 else middle
    x.constants[f"{zero}/damaged"] = np.full_like(array, moved)
    x.rewired({zero: f"{zero}/damaged"})


def _exchanged(rows: Array, i: int, j: int) -> Array:
    order = np.arange(len(rows))
    order[[i, j]] = j, i
    return rows[order]


DAMAGES: dict[str, Callable[[Layer], None]] = {
    f.__name__: f
    for f in (
        clipped,
        coarse,
        doubled,
        mirrored,
        negated,
        noisy,
        off_zero,
        permuted,
        pruned,
        saturated,
        shifted,
        swapped,
        unbiased,
        zeroed,
    )
}
"""What is done to one layer."""


def bgr(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a preprocessing with red and blue exchanged."""
    return spec | {"channel_order": "RGB" if spec.get("channel_order") == "BGR" else "BGR"}


def mean(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a preprocessing that takes no mean off."""
    return spec | {"mean": 0}


def stretched(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a preprocessing that stretches where it should crop."""
    return spec | {"resize": "stretch"}


PICTURES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {f.__name__: f for f in (bgr, mean, stretched)}
"""What is done to the preprocessing."""


LABELS = "labels"
"""The last layer permuted."""


def layers_of(model: Model) -> list[Joint]:
    """Return the layers with weights, from input to output."""
    source = next(i.name for i in model.inputs)
    return [j for j in skeleton_of(model, source=source, logits=find_score(model).logits) if j.weight]


def damaged(model: Model, kind: str, *, seed: int, layer: str = "") -> tuple[Model, Joint]:
    """Return ``model`` with one layer damaged, and the layer.

    Raises
    ------
    UnfitError
        The layer cannot be damaged so.
    """
    model = unfused(model)
    rng = np.random.default_rng([seed, *kind.encode()])
    layers = layers_of(model)
    drawn = layers[-1] if kind == LABELS else layers[rng.integers(len(layers))]
    chosen = [j for j in layers if layer in (j.end, j.name)] if layer else [drawn]
    if not chosen:
        raise UnfitError(f"no layer {layer!r}")
    opened = Layer(model, chosen[0], rng)
    (permuted if kind == LABELS else DAMAGES[kind])(opened)
    return opened.done(), chosen[0]


def main() -> None:
    """Damage a file."""
    p = of_change(__doc__, (*DAMAGES, *PICTURES, LABELS))
    p.add_argument("--layer", default="")
    a = p.parse_args()
    if a.list or a.model is None or a.output is None:
        for name, what in {**DAMAGES, **PICTURES}.items():
            print(f"{name:10} {what.__doc__}")
        return
    if a.kind in PICTURES:
        a.output.write_text(json.dumps(PICTURES[a.kind](json.loads(a.model.read_text())), indent=1))
        return
    model, layer = damaged(load(a.model), a.kind, seed=a.seed, layer=a.layer)
    onnx.save(model.standalone(), a.output)
    print(layer.end)


if __name__ == "__main__":
    main()
