"""PyTorch nets from exported files and exported files from PyTorch nets."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn


def folded(net: nn.Module) -> nn.Module:
    """Give every convolution a bias and take the BatchNormalization out, as exported files have it."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.Conv2d) and child.bias is None:
                child.bias = nn.Parameter(torch.zeros(child.out_channels))
    return net


def filled(net: nn.Module, file: Path, x: Tensor) -> nn.Module:
    """Put the weights of an exported file into a net, convolutions and linear layers in the order they run in."""
    graph = onnx.load(file).graph
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    weights = []
    for node in graph.node:
        given = [arrays[i] for i in node.input if i in arrays]
        if node.op_type in ("Conv", "Gemm"):
            weights.append(given)
        elif node.op_type == "MatMul" and given:
            weights.append([given[0].T])
        elif node.op_type == "Add" and given and weights and len(weights[-1]) == 1:
            weights[-1].append(given[0])
    net = folded(net).eval()
    order: list[Any] = []
    handles = [
        m.register_forward_hook(lambda m, *_: order.append(m))
        for m in net.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    net(x)
    for handle in handles:
        handle.remove()
    if len(order) != len(weights):
        raise ValueError(f"{file.name}: {len(weights)} weights for {len(order)} layers")
    for module, (weight, bias) in zip(order, weights, strict=True):
        module.weight.data = torch.tensor(weight).reshape(module.weight.shape)
        module.bias.data = torch.tensor(bias)
    return net


def exported(net: nn.Module, folder: Path, name: str, x: Tensor) -> Path:
    """Write a net with PyTorch's TorchScript exporter, whose node names keep the modules."""
    file = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (x,), file, dynamo=False, opset_version=17,
            input_names=["input"], output_names=["logits"], dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )  # fmt: skip
    return file
