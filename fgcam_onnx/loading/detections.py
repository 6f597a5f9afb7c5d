"""Detections: boxes, scores and class numbers that a detector gives in outputs of their own, joined to rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper

from ..graph.model import Model, TensorSpec
from ..graph.score import DETECTIONS

MOST = 300
"""Rows where the number is not fixed: so many detections, the first of the output, and zeros behind them."""

LABELS = ("class", "label")


def with_detections(model: Model) -> Model:
    """Return ``model`` with a tensor ``detections`` (1, boxes, 6): corners, score and the number of the class.

    Where non-maximum suppression chooses them there are as many as it finds; the tensor has ``MOST``, filled up with
    zeros. As it is where the outputs are no such three, or there is a tensor of that name.
    """
    found = None if DETECTIONS in model.types else _three(model.answers)
    if found is None:
        return model
    boxes, scores, labels = found
    count = boxes.shape[-2]
    nodes, constants, types = _joined(boxes.name, scores.name, labels.name, count if isinstance(count, int) else None)
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    proto.graph.node.extend(nodes)
    return replace(model, proto=proto, constants={**model.constants, **constants}, types={**model.types, **types})


def _three(outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, TensorSpec, TensorSpec] | None:
    """Return outputs of (boxes, 4), (boxes) and whole numbers (boxes), of one picture; None where they are not such."""
    boxes = [o for o in outputs if o.dtype.kind == "f" and o.shape[-1:] == (4,) and _rank(o) == 2]
    if len(boxes) != 1 or len(boxes[0].shape) < 2:
        return None
    count = boxes[0].shape[-2]
    several = [o for o in outputs if _rank(o) == 1 and o.shape]
    rows = [o for o in several if o.shape[-1] == count or not (isinstance(count, int) or isinstance(o.shape[-1], int))]
    labels = [o for o in rows if o.dtype.kind in "iu" or any(word in o.name.casefold() for word in LABELS)]
    scores = [o for o in rows if o.dtype.kind == "f" and o not in labels]
    return (boxes[0], scores[0], labels[0]) if len(scores) == len(labels) == 1 else None


def _rank(spec: TensorSpec) -> int:
    """Return how many dimensions there are, a batch of 1 in front aside."""
    return len(spec.shape) - (len(spec.shape) > 1 and spec.shape[0] == 1)


def _joined(
    boxes: str, scores: str, labels: str, count: int | None
) -> tuple[list[NodeProto], dict[str, NDArray[Any]], dict[str, TypeProto]]:
    constants = {
        "four": np.array([-1, 4]), "single": np.array([-1, 1]), "whole": np.array([1, count or MOST, 6]),
        "most": np.array([MOST]), "from": np.array([0]), "rows": np.array([0]), "none": np.array([0, 0]),
    }  # fmt: skip
    nodes: list[NodeProto] = []
    types: dict[str, TypeProto] = {}

    def put(op: str, inputs: list[str], output: str, kind: int, shape: list[int | None], **attributes: Any) -> str:
        name = output if output == DETECTIONS else f"{DETECTIONS}/{output}"
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        types[name] = helper.make_tensor_type_proto(kind, shape)
        return name

    def constant(name: str) -> str:
        return f"{DETECTIONS}/{name}"

    real, whole = TensorProto.FLOAT, TensorProto.INT64
    wide = put("Cast", [boxes], "boxes_as_float", real, [None, 4], to=real)
    sure = put("Cast", [scores], "scores_as_float", real, [None], to=real)
    numbers = put("Cast", [labels], "numbers", whole, [None], to=whole)
    classes = put("Cast", [numbers], "classes", real, [None], to=real)
    parts = [put("Reshape", [wide, constant("four")], "boxes", real, [count, 4])]
    parts += [
        put("Reshape", [v, constant("single")], n, real, [count, 1]) for v, n in ((sure, "scores"), (classes, "labels"))
    ]
    rows = put("Concat", parts, "joined", real, [count, 6], axis=1)
    if count is None:
        size = put("Shape", [rows], "size", whole, [1], start=0, end=1)
        lack = put("Sub", [constant("most"), size], "lack", whole, [1])
        more = put("Max", [lack, constant("from")], "more", whole, [1])
        pads = put("Concat", [constant("none"), more, constant("from")], "pads", whole, [4], axis=0)
        filled = put("Pad", [rows, pads], "filled", real, [None, 6])
        rows = put("Slice", [filled, constant("from"), constant("most"), constant("rows")], "kept", real, [MOST, 6])
    put("Reshape", [rows, constant("whole")], DETECTIONS, real, [1, count or MOST, 6])
    read = {i for n in nodes for i in n.input}
    named = {constant(k): v.astype(np.int64) for k, v in constants.items() if constant(k) in read}
    return nodes, named, types | {k: helper.make_tensor_type_proto(whole, v.shape) for k, v in named.items()}
