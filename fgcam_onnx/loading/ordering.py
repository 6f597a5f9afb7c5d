"""Order: nodes behind what they read, and every operator set imported once."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from onnx import ModelProto, NodeProto

from ..errors import ModelError
from ..graph.subgraphs import reads


def in_order(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    """Return ``nodes`` with each behind those that it reads from, and otherwise in their order.

    Nodes that read each other in a circle stay behind all others.
    """
    nodes = list(nodes)
    makers = {o: i for i, n in enumerate(nodes) for o in n.output if o}
    waits = [{makers[r] for r in reads(n) if r in makers} for n in nodes]
    readers: dict[int, list[int]] = {}
    for i, makes in enumerate(waits):
        for maker in makes:
            readers.setdefault(maker, []).append(i)
    ready = [i for i, makes in enumerate(waits) if not makes]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers.get(order[-1], ()):
            waits[reader].remove(order[-1])
            if not waits[reader]:
                heapq.heappush(ready, reader)
    return [nodes[i] for i in (*order, *sorted(set(range(len(nodes))) - set(order)))]


def import_once(proto: ModelProto) -> None:
    """Keep one import of each operator set; the names "" and "ai.onnx" mean the same.

    Raises
    ------
    ModelError
        One is imported in two versions.
    """
    versions: dict[str, int] = {}
    for opset in list(proto.opset_import):
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        if versions.setdefault(domain, opset.version) != opset.version:
            both = f"{versions[domain]} and {opset.version}"
            raise ModelError(f"the model imports {domain or 'ai.onnx'} in two versions, {both}: which is meant?")
    del proto.opset_import[:]
    for domain, version in versions.items():
        proto.opset_import.add(domain=domain, version=version)
