"""Judge methods on pictures."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..asked import progress_of
from ..cam.perturbation import Progress
from ..errors import OptionError, check_known
from ..explainer import Explainer
from ..graph.model import Model
from ..imaging import Preprocess, find_sidecar, preprocess_from
from ..loading.loading import load
from ..metrics import CONTROLS, USUAL, Metric
from ..stream import Hands, Item, Journal, Kept, Lines, from_paths, run
from ..sweep import USUAL as USUAL_METHODS
from ..version import __version__
from .marks import bytes_of, digest
from .results import Evaluation, check_regions
from .statistics import FEWEST
from .subjects import Chosen, Pool, Variant, choose
from .truth import Boxes, Regions, indexed
from .work import Evaluating

if TYPE_CHECKING:
    from onnx import ModelProto

ROWS, JOURNAL = "rows.jsonl", "journal.jsonl"


def evaluate(
    model: Model | ModelProto | str | Path,
    images: Sequence[str | Path],
    *,
    methods: Sequence[str | Variant] = USUAL_METHODS,
    layers: Sequence[str] | None = None,
    metrics: Sequence[Metric] | None = None,
    controls: Sequence[str] = tuple(CONTROLS),
    preprocess: Preprocess | None = None,
    classes: Mapping[str, int] | None = None,
    regions: Regions | None = None,
    labels: Sequence[str] = (),
    against: str | None = None,
    out: str | Path | None = None,
    pictures: int = 18,
    seed: int = 0,
    batch: int = 8,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    progress: Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Measure how good the maps of methods are on pictures, beside maps that know nothing of the model.

    Parameters
    ----------
    model : Model, ModelProto or path
    images : sequence of str or Path
        Files, folders and patterns.
    methods : sequence of str or Variant
        What is judged: methods as they are, or with options.
    layers : sequence of str, optional
        Where; ``stages`` is the input and the best layer of each resolution. Default: where each method has its map.
    metrics : sequence of Metric, optional
        Default: ``metrics.USUAL``, those of it that need no region where none is given.
    controls : sequence of str
        Rows of ``metrics.CONTROLS``; ``boxes`` stands where regions are.
    preprocess : Preprocess, optional
        Default: what the file beside the model says.
    classes : mapping of str to int, optional
        The class to explain, by picture; default the likeliest.
    regions : Regions, optional
        Where the object is: ``evaluation.Boxes`` or ``evaluation.Masks``.
    labels : sequence of str
        Class names.
    against : str, optional
        The row that others are compared with, such as ``gradcam at /features/Relu``; default the first.
    out : str or Path, optional
        A folder for ``evaluation.csv``, ``.json`` and ``.html``, and for what a run that was stopped needs to go on.
    pictures : int
        How many pictures the page shows, at most.
    seed : int
        Of all that is drawn.
    batch : int
        Pictures explained, and copies run, at once.
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
        Of every :class:`Explainer`.

    Raises
    ------
    FgcamError
        A name or option is not known or does not fit; nothing could be judged. What one picture cannot is an
        ``error`` in its row.
    """
    chosen_metrics = _metrics(metrics, given=regions is not None)
    progress_of(progress)
    hands = Hands(engine, workers, address, gpus_per_worker)
    hands.check_devices(str(options.get("device", "cpu")))
    options = hands.threaded(options)
    for name in controls:
        check_known("control", name, CONTROLS)
    loaded = model if isinstance(model, Model) else load(model)
    items = from_paths(images)
    if regions is not None and not any(regions.has(item.key) for item in items):
        raise OptionError(f"none of the {len(items)} pictures is among those that boxes or masks are given for")
    bound = _bound(loaded, preprocess, options)
    variants = [m if isinstance(m, Variant) else Variant(m, m) for m in methods]
    if len({v.name for v in variants}) < len(variants) or not variants:
        raise OptionError("methods are one at least, each with a name of its own")
    pool = Pool(loaded, {"batch": batch, **options}, seed)
    chosen = choose(pool, variants, layers, example=bound(Image.new("RGB", (64, 64), (120, 120, 120))))
    reference = _row(against, chosen) if against else chosen.subjects[0].label
    shown = [c for c in controls if regions is not None or not CONTROLS[c].truth]
    work = Evaluating(
        pool, chosen, chosen_metrics, shown, bound, _class_of(items, classes), regions, labels, seed, batch
    )
    told = {
        "model": loaded.path.name if loaded.path else "a model in memory",
        "methods": {v.name: {"method": v.method, **v.options} for v in variants},
        "preprocess": dataclasses.asdict(bound),
        "seed": seed,
    }
    kept = _kept(out, _identity(work, items, told, regions=regions, classes=classes))
    rows = run(items, work, batch=batch, hands=hands, progress=progress, **kept)
    notes = [*(f"{label}: {why}" for label, why in chosen.failures.items()), *_notes(regions, len(items))]
    found = Evaluation(rows, chosen_metrics, chosen.subjects, shown, reference, seed, told, notes)
    if out is not None:
        from .page import write_page

        found.save(out)
        write_page(found, work, {i.key: i for i in items}, Path(out) / "evaluation.html", pictures=pictures)
    return found


def _metrics(metrics: Sequence[Metric] | None, *, given: bool) -> list[Metric]:
    if metrics is None:
        return [m for m in USUAL if given or not m.needs_region]
    if not metrics:
        raise OptionError("no metric was asked for")
    check_regions(metrics, given=given)
    return list({m.name: m for m in metrics}.values())


def _bound(model: Model, preprocess: Preprocess | None, options: Mapping[str, Any]) -> Preprocess:
    """Return how pictures are prepared, for the model's input."""
    probe = Explainer(model, method="gradcam", input=options.get("input"), output=options.get("output"))
    spec = next(i for i in model.inputs if i.name == probe.input)
    if preprocess is None:
        sidecar = find_sidecar(model.path) if model.path is not None else None
        if sidecar is None:
            raise OptionError("there is no preprocessing file beside the model; pass preprocess=")
        preprocess = preprocess_from(sidecar)
    return preprocess.bound(spec.shape, spec.dtype)


def _class_of(items: Sequence[Item], classes: Mapping[str, int] | None) -> Callable[[str], int | None]:
    """Return the class of a picture by its key; all pictures have one, or none has."""
    if classes is None:
        return lambda key: None
    find = indexed(classes)
    told = {item.key: find(item.key) for item in items}
    missing = [key for key, value in told.items() if value is None]
    if missing:
        raise OptionError(f"no class is given for {len(missing)} of {len(items)} pictures, such as {missing[0]}")
    return told.__getitem__


def _row(name: str, chosen: Chosen) -> str:
    """Return the label that ``name`` means: itself, or that of the only row of a method."""
    labels = [s.label for s in chosen.subjects]
    of_method = [s.label for s in chosen.subjects if s.variant.name == name]
    if name not in labels and len(of_method) == 1:
        return of_method[0]
    check_known("row to compare with", name, labels)
    return name


def _notes(regions: Regions | None, count: int) -> list[str]:
    few = (
        [f"{count} picture{'s' * (count > 1)}: no difference between maps is sure below {FEWEST}"]
        if count < FEWEST
        else []
    )
    if not isinstance(regions, Boxes):
        return few
    which = "boxes of the class that is explained"
    if not regions.by_class:
        which = "all boxes, since they do not name the model's classes"
    return [*few, f"where the object is: {which}"]


def _kept(out: str | Path | None, identity: Mapping[str, Any]) -> dict[str, Any]:
    if out is None:
        return {"sink": Kept([])}
    for variant, options in identity["methods"].items():
        for name, value in options.items():
            try:
                json.dumps(value)
            except TypeError:
                raise OptionError(
                    f"{variant}: {name} is a {type(value).__name__}, by which a folder's run is not known again; give "
                    "it a name (a composite: COMPOSITES of fgcam_onnx.lrp.table), or leave out= away"
                ) from None
    journal = Journal.of(Path(out) / JOURNAL, identity)
    return {"sink": Lines(Path(out) / ROWS), "journal": journal}


def _identity(
    work: Evaluating,
    items: Sequence[Item],
    told: Mapping[str, Any],
    *,
    regions: Regions | None,
    classes: Mapping[str, int] | None,
) -> dict[str, Any]:
    """Return everything that the rows depend on."""
    sizes = [[i.key, i.path.stat().st_size if os.path.exists(i.path) else 0] for i in items]
    return {
        "fgcam": __version__,
        **told,
        "model": digest(bytes_of(work.pool.model)),
        "options": repr(sorted(work.pool.options.items())),
        "rows": [s.label for s in work.chosen.subjects],
        "metrics": {m.name: repr(sorted(m.reads.items())) for m in work.metrics},
        "controls": list(work.controls),
        "pictures": digest([repr(sizes).encode()]),
        "classes": digest([repr(classes and sorted(classes.items())).encode()]),
        "regions": digest([repr(regions).encode()]),
    }
