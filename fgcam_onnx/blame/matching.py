"""Matching: which layers of two models are one and the same, whatever they are called and however they are laid out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.facts import facts_of
from ..graph.model import Model
from ..graph.shapes import Shape
from ..surgery.splicing import Seam
from .skeleton import COMMUTES, Joint, shape_of, skeleton_of
from .weights import Weights, weights_of

ALIKE = 0.8
"""Cosine of weights above which two layers are partners though nothing else says so."""

AFFIXES = re.compile(r"(_quantized|_quant|_QuantizeLinear(_Output)?|_DequantizeLinear(_Output)?|_prequant|_dequant)+$")


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two models: its skeleton and its weights."""

    model: Model
    joints: tuple[Joint, ...]
    weights: Mapping[str, Weights]

    @classmethod
    def of(cls, model: Model, *, source: str, logits: str) -> Side:
        """Return what is known of a model from its input ``source`` to ``logits``."""
        joints = skeleton_of(model, source=source, logits=logits)
        return cls(model, joints, weights_of(model, joints))


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer of the reference and its partner in the candidate, and the seam where both can be joined.

    ``single`` is whether it is one layer, and not several whose seams are none.
    """

    reference: Joint
    candidate: Joint
    seam: Seam
    single: bool = True


@dataclass(frozen=True, eq=False)
class Matching:
    """The layers that both models have, in the reference's order, and those that have no partner, by tensor."""

    pairs: tuple[Pair, ...]
    alone: tuple[str, ...]
    alone_in_candidate: tuple[str, ...]


def matched(reference: Side, candidate: Side) -> Matching:
    """Match the layers of two models.

    A layer's partner does the same to partners of what it reads; where several do, the name decides, then the
    weights. A layer that reads something without a partner is found by name or by its weights.
    """
    partners: dict[str, str] = {}
    left = {j.name: j for j in reference.joints}
    found: list[Pair] = []
    for own in candidate.joints:
        options = [j for j in left.values() if _fits(j, own, partners) and _same_size(j, own, reference, candidate)]
        if not options:
            options = [j for j in left.values() if j.kind == own.kind and _stands_out(j, own, reference, candidate)]
        if not options:
            continue
        best = max(options, key=lambda j: (_named_alike(j, own), _likeness(j, own, reference, candidate)))
        partners[own.name] = best.name
        del left[best.name]
        if (seam := seam_of(reference.model, candidate.model, best, own)) is not None:
            found.append(Pair(best, own, seam))
    place = {j.name: i for i, j in enumerate(reference.joints)}
    pairs = tuple(sorted(found, key=lambda p: place[p.reference.name]))
    known = {p.reference.name for p in pairs}, {p.candidate.name for p in pairs}
    return Matching(
        pairs,
        tuple(j.end for j in reference.joints if j.name not in known[0]),
        tuple(j.end for j in candidate.joints if j.name not in known[1]),
    )


def _fits(joint: Joint, own: Joint, partners: Mapping[str, str]) -> bool:
    """Tell whether both do the same to partners."""
    read = [partners.get(i) for i in own.inputs]
    if joint.kind != own.kind or None in read:
        return False
    given: list[str | None] = list(joint.inputs)
    return sorted(map(str, given)) == sorted(map(str, read)) if own.kind in COMMUTES else given == read


def _same_size(joint: Joint, own: Joint, reference: Side, candidate: Side) -> bool:
    a, b = reference.weights.get(joint.name), candidate.weights.get(own.name)
    return (a is None) == (b is None) and (a is None or b is None or a.rows.shape == b.rows.shape)


def _stands_out(joint: Joint, own: Joint, reference: Side, candidate: Side) -> bool:
    likely = _likeness(joint, own, reference, candidate) >= ALIKE
    return likely or (bool(joint.inputs) and _named_alike(joint, own) and _same_size(joint, own, reference, candidate))


def _likeness(joint: Joint, own: Joint, reference: Side, candidate: Side) -> float:
    a, b = reference.weights.get(joint.name), candidate.weights.get(own.name)
    return a.likeness(b) if a is not None and b is not None else 0.0


def _named_alike(joint: Joint, own: Joint) -> bool:
    mine, theirs = ({_plain(n) for n in (*j.chain, *j.copies, j.node)} for j in (joint, own))
    return not mine.isdisjoint(theirs)


def _plain(name: str) -> str:
    return AFFIXES.sub("", name)


def seam_of(reference: Model, candidate: Model, joint: Joint, own: Joint) -> Seam | None:
    """Return how the ends of two layers are made of one another; None where their sizes do not fit."""
    ends = joint.end, own.end
    shapes = shape_of(reference, ends[0]), shape_of(candidate, ends[1])
    if shapes[0] is None or shapes[1] is None:
        return None
    order = _order(
        shapes[0],
        shapes[1],
        *(facts_of(m).channel_axis.get(e) for m, e in zip((reference, candidate), ends, strict=True)),
    )
    if order is None:
        return None
    return Seam(joint.copies, own.copies, order, unquantized=own.unquantized)


def _order(a: Shape, b: Shape, axis: int | None, other: int | None) -> tuple[int, ...] | None:
    """Return the order of the reference's axes that gives the candidate's: empty where they agree, or None."""
    rank = len(a)
    if len(b) == rank and axis is not None and other is not None and axis != other:
        rest = [i for i in range(rank) if i != axis]
        order = (*rest[:other], axis, *rest[other:])
        return order if _agree([a[i] for i in order[1:]], b[1:]) else None
    if len(b) == rank and _agree(a[1:], b[1:]):
        return ()
    sizes = [[d for d in s[1:] if d != 1] for s in (a, b)]
    return () if _agree(*sizes) else None


def _agree(a: Sequence[object], b: Sequence[object]) -> bool:
    return len(a) == len(b) and all(
        x == y for x, y in zip(a, b, strict=True) if isinstance(x, int) and isinstance(y, int)
    )
