"""Paths: which tensors lie on the way to the score, and which of them all of it passes through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..graph.facts import producers_of, reached_from
from ..graph.memo import once
from ..graph.model import Model
from ..graph.operators import ELEMENTWISE, NORMALIZES, PRODUCTS, SHAPES
from ..graph.subgraphs import reads
from .movement import MOVES, NOWHERE
from .places import places_of
from .reach import Mask, Reach


def ancestors_of(model: Model, logits: str) -> set[str]:
    """Return every tensor that ``logits`` is computed from, itself included."""
    needed = {logits}
    for node in reversed(model.nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
    return needed


@once
def depths_of(model: Model, logits: str) -> Mapping[str, int]:
    """Return how deep each tensor that leads to ``logits`` lies: after all that it is made of, operand by operand.

    Where branches part, operands keep their order whatever exporter writes them, and the list of operators does not.
    """
    producers, depths = producers_of(model), dict[str, int]()
    waiting: list[tuple[str, bool]] = [(logits, False)]
    while waiting:
        name, made = waiting.pop()
        node = producers.get(name)
        if made or node is None:
            for output in node.output if node is not None else [name]:
                depths.setdefault(output, len(depths))
        elif name not in depths:
            waiting.append((name, True))
            waiting += [(i, False) for i in reversed(reads(node)) if i and i not in depths]
    return depths


def bottlenecks_of(model: Model, logits: str, ancestors: set[str], source: str | None = None) -> set[str]:
    """Return the tensors that every path to ``logits`` from ``source``, or from any input, passes."""
    sources = [source] if source is not None else [i.name for i in model.inputs]
    varying = reached_from(model, *sources)
    order: dict[str, int] = dict.fromkeys(sources, 0)
    edges: list[tuple[int, int]] = []
    names: list[str] = [""]
    for node in model.nodes:
        if not any(o in ancestors for o in node.output) or not any(i in varying for i in reads(node)):
            continue
        if node.op_type in SHAPES:
            continue
        position = len(names)
        names.append(node.output[0])
        order |= {o: position for o in node.output if o}
        edges += [(order[i], position) for i in reads(node) if i in order]
    result = set(sources) if len(sources) == 1 else set()
    return result | _not_jumped(names, edges)


def _not_jumped(names: Sequence[str], edges: Iterable[tuple[int, int]]) -> set[str]:
    """Return the names, in execution order, that no edge jumps over; the first is where the paths begin."""
    jumps = [0] * (len(names) + 1)
    for a, b in edges:
        if b > a + 1:
            jumps[a + 1] += 1
            jumps[b] -= 1
    result, over = set(), 0
    for position, name in enumerate(names):
        over += jumps[position]
        if position and over == 0:
            result.add(name)
    return result


def patch_bottlenecks(model: Model, start: str, reach: Reach, source: str | None = None) -> set[str]:
    """Return the tensors that the patch tokens of ``start`` must pass to reach the score.

    What only extra tokens carry on is no path of theirs: where a class token alone is read, the residual sum
    behind the last attention takes nothing of the patches, and all of them goes through its keys and values.
    """
    places = places_of(model, source)
    mixed: dict[str, bool] = {start: False}
    order, names, edges = {start: 0}, [start], []

    def lives(name: str, mask: Mask | None) -> bool:
        if mask is None or name not in mixed:
            return False
        known = places.get(name)
        if mixed[name] or known is None or not mask.ndim or mask.shape != known.at.shape:
            return True
        return bool((mask & (known.at != NOWHERE)).any())

    for index, node in enumerate(model.nodes):
        live = [i for i in dict.fromkeys(reads(node)) if lives(i, reach.edges.get((index, i)))]
        if not live:
            continue
        position = len(names)
        names.append(node.output[0])
        op = node.op_type
        in_place = op in MOVES or op in ELEMENTWISE or op in NORMALIZES or op == "Gemm"
        in_place |= op in PRODUCTS and node.input[PRODUCTS[op][1]] not in live
        for output in node.output:
            order[output] = position
            mixed[output] = not in_place or output not in places or any(mixed[i] for i in live)
        edges += [(order[i], position) for i in live]
    return _not_jumped(names, edges)
