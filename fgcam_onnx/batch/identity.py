"""What names everything that the rows of a run depend on."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..arguments import image_input
from ..errors import OptionError
from ..explainer import Explainer
from ..graph.model import Model
from ..imaging import Preprocess, find_sidecar, preprocess_from
from ..imaging.writing import sha256_of
from ..saving.saving import sources_of
from ..surgery.framing import pictured
from ..version import __version__
from .job import Job


def bound_to(model: Model, preprocess: Preprocess | None, options: Mapping[str, Any]) -> Preprocess:
    """Return a preprocessing bound to the model's input; that of the file beside the model where none is given.

    Raises
    ------
    OptionError
        There is none, or it does not fit.
    """
    if preprocess is None:
        sidecar = find_sidecar(model.path) if model.path is not None else None
        if sidecar is None:
            raise OptionError("no preprocessing is given, and there is none beside the model")
        preprocess = preprocess_from(sidecar)
    spec = pictured(model, image_input(model.inputs, options.get("input")))
    return preprocess.bound(spec.shape, spec.dtype)


NO_MATTER = ("method", "progress", "device", "threads", "batch")
"""Options that stand for themselves, or that rows do not depend on."""


def _unusual(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not as by default, as plain values."""
    usual = {n: p.default for n, p in inspect.signature(Explainer.__init__).parameters.items()}
    said = {n: v for n, v in sorted(options.items()) if n not in NO_MATTER and (n not in usual or v != usual[n])}
    return {n: v if isinstance(v, str | int | float) else repr(v) for n, v in said.items()}


def same_of(job: Job) -> dict[str, str]:
    """Return the columns in which all rows of a job are alike."""
    told = {n: v for n, v in _unusual(job.options).items() if n not in ("head", "layers")}
    return {"method": str(job.options["method"]), "options": json.dumps(told), "model": digest_of(job.model)}


def identity_of(job: Job, shard: int) -> dict[str, Any]:
    """Return what names everything that rows depend on."""
    return {
        "fgcam": __version__,
        "method": job.options["method"],
        "model": job.same["model"],
        **_unusual(job.options),
        "targets": [repr(t) for t in job.targets],
        "top": job.top,
        "labels": hashlib.sha256("\n".join(job.labels).encode()).hexdigest()[:16],
        "preprocess": job.preprocess.summary(),
        "notes": list(job.notes),
        "map": job.packing,
        "overlays": None if job.overlays is None else repr(job.style),
        "batch": job.batch,
        "shard": shard,
    }


def digest_of(model: Model) -> str:
    """Return the SHA-256 of a model's file; of that and the files of its weights, where they lie beside it."""
    if model.path is None:
        constants = [part for n, a in sorted(model.constants.items()) for part in (n.encode(), a.tobytes())]
        parts = [model.proto.SerializeToString(deterministic=True), *constants]
        whole = hashlib.sha256()
        for each in parts:
            whole.update(each)
        return whole.hexdigest()
    own = Path(os.path.realpath(model.path))
    beside = sorted(sources_of(model) - {own})
    if not beside:
        return sha256_of(own)
    return hashlib.sha256("".join(sha256_of(path) for path in (own, *beside)).encode()).hexdigest()
