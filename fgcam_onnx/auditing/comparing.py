"""Compare a model with the one that it was made of."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import image_input
from ..asked import progress_of
from ..cam.perturbation import Progress
from ..errors import FgcamError, OptionError, TargetError, check_known
from ..evaluation.marks import bytes_of, digest
from ..evaluation.truth import Regions
from ..graph.model import Model
from ..heads import NOTHING, Stated, meaning_of
from ..imaging import Preprocess, write_atomically
from ..imaging.writing import check_writable, sha256_of
from ..loading.loading import load
from ..metrics import Metric
from ..saving.saving import write_whole
from ..stream import Hands, Item, Journal, Kept, Lines, from_paths, run
from ..targets import AnyTarget, Objective
from ..version import __version__
from .asked import Asked
from .culprits import with_culprits
from .harmless import CHANGES
from .results import Audit
from .sameness import compared
from .sides import Side, bound, matched, prepares
from .verdicts import FEWEST, Thresholds
from .work import Auditing

if TYPE_CHECKING:
    from onnx import ModelProto

METHOD = "gradcam"
"""What maps are compared by where nothing is said: every kind of net has it, and it costs little."""

ROWS, JOURNAL = "rows.jsonl", "journal.jsonl"


def audit(
    reference: Model | ModelProto | str | Path,
    candidate: Model | ModelProto | str | Path,
    *,
    images: Sequence[str | Path],
    method: str = METHOD,
    layer: str | None = None,
    candidate_layer: str | None = None,
    target: AnyTarget = None,
    preprocess: Preprocess | None = None,
    candidate_preprocess: Preprocess | None = None,
    class_offset: int = 0,
    metrics: Sequence[Metric] = (),
    regions: Regions | None = None,
    labels: Sequence[str] = (),
    head: Stated = NOTHING,
    fail_under: Mapping[str, float] | None = None,
    fail_over: Mapping[str, float] | None = None,
    changes: Sequence[str] = tuple(CHANGES),
    candidate_options: Mapping[str, Any] | None = None,
    blame: bool = False,
    mend: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    pictures: int = 30,
    seed: int = 0,
    batch: int = 8,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    progress: Progress | None = None,
    **options: Any,
) -> Audit:
    """Tell whether a model still predicts, and looks at, what its reference does, beside what harmless changes do.

    Both explain what the reference predicts. The floor is how far the reference's own map and prediction move under the
    harmless change that moves each picture furthest. The candidate fails where a measure is surely beyond it by more
    than is allowed, passes where all are surely within, and cannot be judged else.

    Parameters
    ----------
    reference, candidate : Model, ModelProto or path
        The same file twice, where it is to be compared on another device or at another level of optimisation.
    images : sequence of str or Path
        Files, folders and patterns.
    method : str
        What maps are compared by.
    layer : str, optional
        Where, in the reference; default where the method has its map.
    candidate_layer : str, optional
        The same in the candidate; default the one that corresponds.
    target : target, optional
        What is explained; default the class that the reference finds likeliest on each picture.
    preprocess, candidate_preprocess : Preprocess, optional
        Default: what the files beside the models say; for a candidate without one what is for the reference.
    class_offset : int
        What is added to a class of the reference to have the candidate's: 1 where the candidate has a background class
        in front.
    metrics : sequence of Metric
        Of each map, where they are asked for.
    regions : Regions, optional
        Where the object is, for metrics that read it.
    labels : sequence of str
        Class names.
    head : Stated
        What the outputs mean, as far as that is to be said.
    fail_under, fail_over : mapping of str to float, optional
        Thresholds of the caller's own, by measure or metric; they overrule the floor.
    changes : sequence of str
        The harmless ones, rows of ``harmless.CHANGES``.
    candidate_options : mapping, optional
        Options of the candidate's :class:`Explainer` that are not those of the reference, such as ``int8``.
    blame : bool
        Also find the layers that the drift comes from, on the worst pictures; see :func:`fgcam_onnx.blame.blame`.
    mend : path, optional
        Where a candidate that fails is written with the fewest of these layers in float that let it pass this audit;
        nothing is written where none do. See :func:`fgcam_onnx.blame.mend`.
    out : str or Path, optional
        A folder for ``audit.json``, ``.xml`` and ``.html``, and for what a run that was stopped needs to go on.
    resume : bool
        Refuse to begin anew: there has to be a run that was stopped.
    pictures : int
        How many pictures the page shows, at most.
    seed : int
        Of all that is drawn.
    batch : int
        Pictures compared at once.
    engine : {"local", "ray"}
        Who does the pictures: this process, or Ray's workers, which give the same numbers to the same ``threads``; a
        worker has one where nothing is said.
    workers : int, optional
        Of Ray's; default one for each core but one.
    address : str, optional
        Of a Ray cluster; default one on this machine.
    gpus_per_worker : float
        Of Ray's workers.
    progress : callable, optional
        Called with (done, total) pictures.
    **options
        Of both :class:`Explainer`.

    Raises
    ------
    FgcamError
        A model, name or option does not fit, or a file cannot be written. What one picture cannot is an ``error`` in
        its row.
    """
    thresholds = Thresholds(dict(fail_under or {}), dict(fail_over or {}), metrics)
    if not isinstance(target, None | int | np.integer | Objective):
        raise OptionError("an audit explains one thing of each picture: name one class, or one other target (target=)")
    for name in changes:
        check_known("harmless change", name, CHANGES)
    hands = Hands(engine, workers, address, gpus_per_worker)
    options = hands.threaded(options)
    hands.check_devices(*(str(o.get("device", "cpu")) for o in (options, {**options, **(candidate_options or {})})))
    items = from_paths(images)
    models = []
    for which, file in (("reference", reference), ("candidate", candidate)):
        with _errors_of(which):
            models.append(file if isinstance(file, Model) else load(file))
    progress_of(progress)
    if mend is not None:
        _check_mend(Path(mend), models)
    given, own_said = prepares(models[0], preprocess, otherwise=None)
    other, their_said = prepares(models[1], candidate_preprocess, otherwise=given)
    common = {"batch": batch, **options}
    own = _side(models[0], "reference", given, method, layer, {**common, "head": head})
    bare = dataclasses.replace(head, labels=())
    count = _counted(models[1], bare, {**options, **(candidate_options or {})})
    stated = head if class_offset == 0 and count == own.classes else bare
    theirs = _side(
        models[1], "candidate", other, method, candidate_layer, {**common, "head": stated, **(candidate_options or {})}
    )
    how = "as said"
    if candidate_layer is None:
        theirs, how = matched(own, theirs)
    _check_classes(own, theirs, class_offset, target)
    asked = Asked(metrics, regions) if metrics else None
    labels = labels or own.explainer.head.labels
    chosen = [CHANGES[c] for c in dict.fromkeys(changes)]
    work = Auditing(own, theirs, class_offset, target, chosen, asked, labels, seed)
    same = compared(*models)
    told = {
        "reference": _told(own, own_said),
        "candidate": _told(theirs, their_said),
        "layers": how,
        "method": method,
        "class_offset": class_offset,
        "seed": seed,
    }
    kept = _kept(out, {**_identity(work, items, told), "regions": digest([repr(regions).encode()])}, resume=resume)
    rows = run(items, work, batch=batch, hands=hands, progress=progress, **kept)
    notes = _notes(own, theirs, same.one, len(items))
    view = own.preprocess.size or (0, 0)
    found = Audit(rows, chosen, metrics, thresholds, same, view, seed, told, notes)
    if (blame or mend is not None) and found.known:
        mends = mend is not None and found.outcome == "fails"
        try:
            found = with_culprits(found, work, items, batch=batch, mends=mends)
        except FgcamError as error:
            found = dataclasses.replace(found, notes=[*found.notes, f"No layer is blamed: {error}"])
    if mend is not None and found.mended is not None and (made := found.mended.model) is not None:
        write_atomically(mend, lambda file: write_whole(file, made.SerializeToString()))
    if out is not None:
        from .page import write_page

        found.save(out)
        write_page(found, work, {i.key: i for i in items}, Path(out) / "audit.html", pictures=pictures)
    return found


@contextlib.contextmanager
def _errors_of(which: str) -> Iterator[None]:
    """Let errors say whose they are."""
    try:
        yield
    except FgcamError as error:
        raise type(error)(f"the {which}: {error}") from error


def _side(
    model: Model, which: str, preprocess: Preprocess, method: str, layer: str | None, options: Mapping[str, Any]
) -> Side:
    """Return a side, built."""
    with _errors_of(which):
        side = Side(model, bound(preprocess, model, name=options.get("input")), method, layer, options)
        _ = side.layer
        return side


def _counted(model: Model, stated: Stated, options: Mapping[str, Any]) -> int:
    """Return how many classes the candidate tells apart: names of another number would be refused as names."""
    with _errors_of("candidate"):
        source = image_input(model.inputs, options.get("input")).name
        head = meaning_of(model, options.get("output"), source=source, stated=stated)[1]
        return (head.count or 0) if head.classed else 0


def _check_mend(path: Path, models: Sequence[Model]) -> None:
    """Refuse a place for the mended candidate before anything is run.

    Raises
    ------
    OptionError
        It is one of the two models.
    OutputError
        It cannot be written.
    """
    for which, model in zip(("reference", "candidate"), models, strict=True):
        if model.path is not None and os.path.realpath(model.path) == os.path.realpath(path):
            raise OptionError(f"{path}: the mended file would replace the {which}; name another (mend=, --mend)")
    check_writable(path)


def _check_classes(own: Side, theirs: Side, offset: int, target: AnyTarget) -> None:
    """Refuse models whose answers cannot be compared.

    Raises
    ------
    TargetError, OptionError
        Says in what they differ.
    """
    heads = own.explainer.head, theirs.explainer.head
    if heads[0].kind != heads[1].kind:
        raise TargetError(
            f"the reference gives {heads[0].told}, the candidate {heads[1].told}: name outputs that are alike"
        )
    if heads[0].kind != "classes":
        if offset:
            raise OptionError(f"a class offset is for scores of classes, the models give {heads[0].told}")
        if target is None and heads[0].kind != "number":
            raise heads[0].refusal("an audit has to be told what to explain (target=, --target)")
        return
    a, b = own.classes, theirs.classes
    if a != b and not offset:
        hint = f"; is it --class-offset {b - a}?" if abs(b - a) == 1 else ""
        raise TargetError(
            f"the reference has {a} classes, the candidate {b}{hint}: say with class_offset= which is which"
        )
    if not -a < offset < b:
        raise OptionError(
            f"with a class offset of {offset} no class of the reference's {a} is among the candidate's {b}"
        )


def _told(side: Side, said: str) -> dict[str, Any]:
    model, explainer = side.model, side.explainer
    return {
        "model": model.path.name if model.path else "a model in memory",
        "producer": model.producer,
        "opset": model.opset_read,
        "layer": side.layer.name,
        "size": list(side.layer.spatial),
        "input": f"{explainer.input} {'x'.join(map(str, explainer.model.inputs[0].shape))}",
        "preprocess": side.preprocess.summary(),
        "preprocess_from": said,
        "options": {n: v for n, v in side.options.items() if n in ("device", "optimization", "int8", "threads")},
    }


def _notes(own: Side, theirs: Side, one: bool | None, count: int) -> list[str]:
    notes = []
    if one is False:
        notes.append("The two files are two different nets: what differs need not come from a conversion.")
    sizes = ["x".join(map(str, s.layer.spatial)) for s in (own, theirs)]
    if sizes[0] != sizes[1]:
        notes.append(f"Maps of {sizes[0]} and {sizes[1]} positions: both are brought to the larger size.")
    fields = ("resize", "crop_share", "pad_at", "size")
    if differing := [f for f in fields if getattr(own.preprocess, f) != getattr(theirs.preprocess, f)]:
        notes.append(
            f"The models see pictures with another {', '.join(differing)}: maps are laid where the reference looks."
        )
    if count < FEWEST:
        notes.append(f"{count} picture{'s' * (count > 1)}: below {FEWEST} nothing is judged.")
    return notes


def _kept(out: str | Path | None, identity: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    if resume and (out is None or not os.path.exists(Path(out) / JOURNAL)):
        raise OptionError(f"{out}: there is no run to go on from; leave out resume (--resume)")
    if out is None:
        return {"sink": Kept([])}
    journal = Journal.of(Path(out) / JOURNAL, identity)
    return {"sink": Lines(Path(out) / ROWS), "journal": journal}


def _identity(work: Auditing, items: Sequence[Item], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the rows depend on."""
    files = [[i.key, sha256_of(i.path) if os.path.isfile(i.path) else ""] for i in items]
    return {
        "fgcam": __version__,
        **told,
        "models": [digest(bytes_of(side.model)) for side in (work.reference, work.candidate)],
        "options": [repr(sorted(side.options.items())) for side in (work.reference, work.candidate)],
        "target": repr(work.target),
        "labels": digest([repr(list(work.labels)).encode()]),
        "metrics": {m.name: repr(sorted(m.reads.items())) for m in (work.asked.metrics if work.asked else ())},
        "changes": [c.name for c in work.changes],
        "pictures": digest([repr(files).encode()]),
    }
