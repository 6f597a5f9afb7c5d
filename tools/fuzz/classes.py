"""Every class of cases, by group and name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import head_nets
import nets
import target_nets
import token_nets
from judges import judged
from mutated import BYTES, GRAPHS, PROTOBUF, some
from onnx import ModelProto, helper
from outcomes import Draw, Outcome, Rng
from random_nets import random_net
from random_nodes import DRAWN
from strange_arguments import ARGUMENTS, KINDLESS
from strange_files import FILES


@functools.cache
def sources() -> tuple[bytes, ...]:
    """Return small models of several kinds, written by hand."""
    made = (
        *(nets.small_cnn(size=(8, 8), width=2, classes=3, tail=t) for t in ("", *nets.TAILS)),
        nets.small_cnn(size=("H", "W"), width=2, opset=11),
        nets.small_cnn(size=(8, 8), width=2, opset=9, listed=True, ir=3, batch=1),
        nets.two_eyed(),
        nets.two_headed(),
        token_nets.transformer(),
        token_nets.windowed(),
        head_nets.segmenter(),
        head_nets.detr(),
        target_nets.dense_net(),
        head_nets.yolo(objectness=True, turned=True),
        with_branches(),
    )
    return tuple(m.SerializeToString() for m in made)


def with_branches() -> ModelProto:
    """Return a net with an If inside."""
    kind = helper.make_tensor_value_info
    then = helper.make_graph([helper.make_node("Relu", ["logits"], ["a"])], "then", [], [kind("a", 1, None)])
    other = helper.make_graph([helper.make_node("Neg", ["logits"], ["b"])], "else", [], [kind("b", 1, None)])
    proto = nets.small_cnn(size=(8, 8), width=2)
    constant = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("v", 9, [], [True]))
    chosen = helper.make_node("If", ["yes"], ["chosen"], then_branch=then, else_branch=other)
    proto.graph.node.extend([constant, chosen])
    proto.graph.output[0].name = "chosen"
    return proto


def drawn_net(rng: Rng, first: str | None = None) -> ModelProto:
    """Draw a valid net, which begins with a node of the kind ``first``."""
    kinds = [some(rng, list(DRAWN.values())) for _ in range(int(rng.integers(1, 5)))]
    return random_net(rng, [*([DRAWN[first]] if first else []), *kinds])


def source(rng: Rng) -> bytes:
    return drawn_net(rng).SerializeToString() if rng.random() < 0.5 else some(rng, sources())


def of_bytes(change: Callable[[bytes, Rng], bytes]) -> Draw:
    def draw(rng: Rng, folder: Path) -> Outcome:
        (path := folder / "model.onnx").write_bytes(change(source(rng), rng))
        return judged(path, rng)

    return draw


def of_message(change: Callable[[ModelProto, Rng], None]) -> Draw:
    def draw(rng: Rng, folder: Path) -> Outcome:
        proto = ModelProto.FromString(source(rng))
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            change(proto, rng)
        (path := folder / "model.onnx").write_bytes(proto.SerializeToString())
        return judged(path, rng)

    return draw


def of_net(kind: str) -> Draw:
    def draw(rng: Rng, folder: Path) -> Outcome:
        (path := folder / "model.onnx").write_bytes(drawn_net(rng, kind).SerializeToString())
        return judged(path, rng)

    return draw


GROUPS: dict[str, dict[str, Draw]] = {
    "models": {
        **{f"bytes {n.replace('_', ' ')}": of_bytes(f) for n, f in BYTES.items()},
        **{f"protobuf {n.replace('_', ' ')}": of_message(f) for n, f in PROTOBUF.items()},
        **{f"graph, {n.replace('_', ' ')}": of_message(f) for n, f in GRAPHS.items()},
    },
    "nets": {f"net, {n.replace('_', ' ')}": of_net(n) for n in DRAWN},
    "files": FILES,
    "arguments": ARGUMENTS,
    "anything": KINDLESS,
}
"""Groups of classes; a case is a class and a number."""

DRAWS: dict[str, Draw] = {name: draw for group in GROUPS.values() for name, draw in group.items()}
