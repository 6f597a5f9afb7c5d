"""Change a model's file in a way that changes nothing of what it computes; seeded.

    python tools/audit/harmless.py MODEL KIND -o FILE [--seed 0]
    python tools/audit/harmless.py --list

As other exporters, opsets and optimisers write the same net. With ``nhwc`` the input takes (N, H, W, C).
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from arguments import of_change
from damage import UnfitError
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fgcam_onnx import load
from fgcam_onnx.graph.subgraphs import nodes_inside

Change = Callable[[ModelProto, np.random.Generator], ModelProto]


def _copied(proto: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


def _plain(proto: ModelProto) -> ModelProto:
    """Return the model at opset 18 or newer, typed, its constants as initializers."""
    return load(proto).standalone()


def opset(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Raise it to a newer opset."""
    plain = _plain(proto)
    version = int(rng.integers(19, 23))
    return onnx.version_converter.convert_version(plain, max(version, plain.opset_import[0].version))


def _optimized(proto: ModelProto, level: str) -> ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(pathlib.Path(folder) / "optimized.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def basic(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Let ONNX Runtime rewrite it with standard operators."""
    return _optimized(proto, "ORT_ENABLE_BASIC")


def extended(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Let ONNX Runtime rewrite it with operators of its own."""
    return _optimized(proto, "ORT_ENABLE_EXTENDED")


def folded(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Fold its constants."""
    return _plain(proto)


def unfolded(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Write every weight as a node Constant."""
    copy = _plain(proto)
    tensors = list(copy.graph.initializer)
    nodes = [helper.make_node("Constant", [], [t.name], value=t, name=f"constant_{i}") for i, t in enumerate(tensors)]
    nodes += copy.graph.node
    del copy.graph.initializer[:], copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def as_inputs(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """List every weight among the inputs, too, as old exporters do."""
    copy = _plain(proto)
    copy.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in copy.graph.initializer
    )
    return copy


def renamed(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Name every tensor and node by a number, drawn anew."""
    copy = _plain(proto)
    if any(n.op_type in ("If", "Loop", "Scan") for n in nodes_inside(copy.graph.node)):
        raise UnfitError("a model with control flow is not renamed")
    kept = {v.name for v in (*copy.graph.input, *copy.graph.output)}
    made = [o for n in copy.graph.node for o in n.output] + [t.name for t in copy.graph.initializer]
    names = [n for n in dict.fromkeys(made) if n and n not in kept]
    numbers = rng.permutation(len(names))
    new = {n: f"t{k}" for n, k in zip(names, numbers, strict=True)}
    for k, node in enumerate(copy.graph.node):
        node.name = f"n{k}"
        node.input[:] = [new.get(i, i) for i in node.input]
        node.output[:] = [new.get(o, o) for o in node.output]
        del node.metadata_props[:]
    for tensor in copy.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    del copy.graph.value_info[:]
    return copy


def reordered(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Write its nodes in another order that runs, and its weights in any."""
    copy = _plain(proto)
    left, ordered = list(copy.graph.node), list[NodeProto]()
    made = {v.name for v in copy.graph.input} | {t.name for t in copy.graph.initializer} | {""}
    while left:
        ready = [n for n in left if made.issuperset(n.input)]
        node = ready[int(rng.integers(len(ready)))]
        left.remove(node)
        ordered.append(node)
        made.update(node.output)
    tensors = [copy.graph.initializer[int(i)] for i in rng.permutation(len(copy.graph.initializer))]
    kept = [numpy_helper.from_array(numpy_helper.to_array(t), t.name) for t in tensors]
    nodes = [_node(n) for n in ordered]
    del copy.graph.node[:], copy.graph.initializer[:]
    copy.graph.node.extend(nodes)
    copy.graph.initializer.extend(kept)
    return copy


def _node(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def nhwc(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Take the picture with its channels last."""
    copy = _plain(proto)
    (info,) = copy.graph.input
    dims = list(info.type.tensor_type.shape.dim)
    if len(dims) != 4 or dims[1].dim_value not in (1, 3):
        raise UnfitError("the input is no picture with its channels first")
    for node in copy.graph.node:
        node.input[:] = [f"{info.name}/nchw" if i == info.name else i for i in node.input]
    first = helper.make_node("Transpose", [info.name], [f"{info.name}/nchw"], perm=[0, 3, 1, 2], name="to_nchw")
    nodes = [first, *map(_node, copy.graph.node)]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    sizes = [d.dim_value or d.dim_param for d in dims]
    kind = info.type.tensor_type.elem_type
    info.CopyFrom(helper.make_tensor_value_info(info.name, kind, [sizes[0], sizes[2], sizes[3], sizes[1]]))
    return copy


def doubled_back(proto: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Turn every second picture within it to NHWC and back."""
    copy = _plain(proto)
    types = load(proto).types
    pictures = {n for n, t in types.items() if len(t.tensor_type.shape.dim) == 4}
    nodes: list[NodeProto] = []
    for node in map(_node, copy.graph.node):
        nodes.append(node)
        name = node.output[0]
        floats = name in pictures and types[name].tensor_type.elem_type == TensorProto.FLOAT
        if floats and rng.random() < 0.5 and name not in {o.name for o in copy.graph.output}:
            node.output[0] = f"{name}/made"
            ends = (f"{name}/made", f"{name}/turned", name)
            nodes += [
                helper.make_node("Transpose", ends[k : k + 1], ends[k + 1 : k + 2], perm=perm, name=f"{name}/turn{k}")
                for k, perm in enumerate(([0, 2, 3, 1], [0, 3, 1, 2]))
            ]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


HARMLESS: dict[str, Change] = {
    f.__name__: f for f in (as_inputs, basic, doubled_back, extended, folded, nhwc, opset, renamed, reordered, unfolded)
}


def changed(proto: ModelProto, kind: str, *, seed: int) -> ModelProto:
    """Return the model written otherwise."""
    return HARMLESS[kind](_copied(proto), np.random.default_rng([seed, *kind.encode()]))


def main() -> None:
    """Change a file."""
    p = of_change(__doc__, HARMLESS)
    a = p.parse_args()
    if a.list or a.model is None or a.output is None:
        for name, what in HARMLESS.items():
            print(f"{name:12} {what.__doc__}")
        return
    onnx.save(changed(onnx.load(a.model), a.kind, seed=a.seed), a.output)


if __name__ == "__main__":
    main()
