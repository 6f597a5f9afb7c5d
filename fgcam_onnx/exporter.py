"""Export: a model and its explanation in one file of standard operators, for any ONNX runtime."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .arguments import picture_size, sides_of
from .asked import flag_of, path_of, size_of, whole_of
from .errors import OptionError, OutputError, TargetError, check_known
from .explainer import Explainer
from .graph.emitter import Emitter
from .graph.model import Model, TensorSpec
from .graph.value import Array, Value
from .imaging import Preprocess, preprocess_from
from .loading.loading import load
from .methods import Options, find_method
from .methods.baselines import told_settings
from .program import Scored, append_scores, scored_by
from .saving.ends import NORMALIZE, RESIZE, finite, marked, prepared, widened
from .saving.half import halved
from .saving.portable import weights_apart
from .saving.saving import (
    check_plain,
    check_written,
    described,
    lies_beside,
    source_told,
    sources_of,
    with_batch,
    write_weights,
    write_whole,
    written,
)
from .sizes import size_given
from .surgery.framing import unframed
from .surgery.products import products_of
from .version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Exported", "export"]

Choice = int | Literal["argmax", "input"]
"""The class that a file explains: one for good, the top one of each image, or one that is given with each."""

EXPLANATION, TARGET, PIXELS = "explanation", "target", "pixels"


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes
    ----------
    path : Path
    beside : Path or None
        The file of the weights, where they are not inside.
    size : int
        Bytes, both together.
    inputs, outputs : tuple of TensorSpec
        As the file has them; a free dimension is a symbol.
    metadata : dict of str to str
        What the file says of itself, by key without the prefix ``fgcam.``.
    """

    path: Path
    beside: Path | None
    size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Program:
    """A model with its explanation appended, not yet written."""

    model: Model
    metadata: dict[str, str]


def export(
    model: Explainer | Model | ModelProto | str | Path,
    path: str | Path,
    *,
    target: Choice = "argmax",
    preprocess: Preprocess | str | Path | None = None,
    size: tuple[int, ...] | int | str | None = None,
    resize: Literal["none", "input"] = "none",
    normalize: Literal["none", "minmax", "uint8"] = "none",
    batch: int | Literal["dynamic"] | None = None,
    fp16: bool = False,
    **options: Any,
) -> Exported:
    """Write a model and its explanation as one ONNX file.

    The file has the model's own outputs, and besides ``explanation`` (N, ...), such as (N, h, w) — with several layers,
    ``explanation/<layer>`` for each —, ``explanation_target`` (N,) and ``explanation_score`` (N,), the class and
    its logit. Where the model has a tensor of such a name, ours is ``fgcam/output/<name>``. Where an image's input,
    logits or maps hold NaN or infinite numbers, its maps (0 as uint8) and score are NaN.

    Parameters
    ----------
    model : Explainer, Model, ModelProto or path
    path : path
        The file to write; it appears whole or not at all.
    target : "argmax", "input" or int
        The top class of each image; an int64 input ``target`` (N,), -1 for the top class; or one class.
    preprocess : Preprocess, or a preset's name or file, optional
        Put before the model: the file takes ``pixels`` (N, H, W, 3), uint8 RGB of the model's size.
    size : tuple of int, int or str, optional
        Height and width, or the sides of as many axes as there are, where the model leaves them open; 224 and
        "224x224" are the same.
    resize : {"none", "input"}
        Leave maps at the size of their layer, or widen them bilinearly to the input's.
    normalize : {"none", "minmax", "uint8"}
        Raw and signed; or the positive part (of reciprocam, whose scores have no 0, all of it), each map's least value
        at 0 and largest at 1; or that from 0 to 255.
    batch : int, optional
        Fix the batch where the model leaves it free.
    fp16 : bool
        Store the model's weights in float16 and compute in it; inputs, outputs and the walk back stay float32. Not
        where ``model`` is an Explainer, which is built on the model as it is.
    **options
        As for :class:`Explainer`; none where ``model`` is one.

    Raises
    ------
    FgcamError
        The method or an option cannot be put in one graph, or the file cannot be written.
    """
    given = [*options, *(["fp16"] if flag_of(fp16, "fp16") else [])]
    if isinstance(model, Explainer):
        if given:
            raise OptionError(f"{', '.join(given)}: the Explainer is built already; pass the model instead")
        explainer = model
    else:
        loaded = model if isinstance(model, Model) else load(model)
        check_plain(loaded)
        explainer = Explainer(halved(loaded) if fp16 else loaded, **options)
    file = Path(path_of(path, "path"))
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        preprocess = preprocess_from(preprocess)
    batch = None if isinstance(batch, str) and batch == "dynamic" else batch
    program = append_explanation(
        explainer, target=target, preprocess=preprocess, size=size, resize=resize, normalize=normalize, batch=batch
    )
    return _write(program, file, sources_of(explainer.model))


def append_explanation(
    explainer: Explainer,
    *,
    target: Choice = "argmax",
    preprocess: Preprocess | None = None,
    size: tuple[int, ...] | int | str | None = None,
    resize: str = "none",
    normalize: str = "none",
    batch: int | None = None,
) -> Program:
    """Return the model of ``explainer`` with its explanation appended; arguments as for :func:`export`."""
    for name, value, known in (("resize", resize, RESIZE), ("normalize", normalize, NORMALIZE)):
        check_known(name, value, known)
    size = size_of(size, "size")
    if batch is not None:
        batch = whole_of(batch, "batch", least=1, most=2**31 - 1)
    if not isinstance(target, str) and (isinstance(target, bool) or not isinstance(target, int | np.integer)):
        raise TargetError(f"target {target!r}: a file explains argmax, input, or one class by its index")
    if explainer.aug_smooth or explainer.tunnel is not None:
        what = "aug_smooth" if explainer.aug_smooth else "a tunnel"
        raise OptionError(f"{what} runs a method again and again from outside: it cannot be exported")
    options, names = explainer.options(size_given(explainer.model, explainer.input, size))
    if options.head.dense:
        raise TargetError(
            f"a file explains a class of the whole picture; the output is {options.head.told}. Use `fgcam explain`"
        )
    if target == "argmax" and not options.head.classed and options.head.count != 1:
        raise TargetError(f"{options.head.told}: its largest element is no class; name one by its index (--target)")
    append = find_method(explainer.method).append
    if append is None:
        raise OptionError(
            f"{explainer.method} cannot be exported: it runs the model again and again from outside, "
            "so it is not one graph. `fgcam methods` lists those that are."
        )
    emitter = Emitter(options.model)
    taken = _inputs(emitter, options, preprocess)
    for spec in options.model.outputs:
        emitter.output(spec.name, emitter.value(spec.name))
    emitter.scope = "score"
    scored = _scored(emitter, options, target)
    if target == "input":
        taken[TARGET] = "class to explain, one for each image; -1 for the top class"
    emitter.scope = "explain"
    found = append(options, emitter, scored)
    emitter.scope = "finish"
    given: dict[str, str] = {}
    maps: list[Value] = [found[f"map/{i}"].astype(np.float32) for i in range(len(names))]
    good = _all_finite(emitter, options, [append_scores(emitter, options.score.logits, source=options.input), *maps])
    for name, m in zip(names, maps, strict=True):
        m = widened(m, _sides(options, m)) if resize == "input" else m
        if find_method(explainer.method).relative and normalize != "none":
            m = m - m.min(tuple(range(1, m.rank)), keepdims=True)
        title = EXPLANATION if len(names) == 1 else f"{EXPLANATION}/{name}"
        given[emitter.output(title, marked(NORMALIZE[normalize](m), good))] = f"map at {name}"
    named = "class" if options.head.classed else "element"
    given[emitter.output(f"{EXPLANATION}_target", scored.target)] = f"{named} that is explained"
    score = marked(scored.score.astype(np.float32), good)
    given[emitter.output(f"{EXPLANATION}_score", score)] = "its logit; NaN where a number was not finite"
    built = emitter.build(inputs=taken)
    built = unframed(built, explainer.frame) if explainer.frame is not None else built
    built = with_batch(weights_apart(built), names=given, size=batch)
    told = {
        "version": __version__,
        "method": explainer.method,
        "layers": json.dumps(names),
        "options": json.dumps(_told(options, explainer.method)),
        "target": str(target),
        "head": json.dumps(options.head.summary()),
        "preprocess": json.dumps(dataclasses.asdict(preprocess)) if preprocess is not None else "",
        "resize": resize,
        "normalize": normalize,
        "int8": explainer.int8 if products_of(explainer.model) else "",
        "inputs": json.dumps(taken),
        "outputs": json.dumps(given),
        **source_told(explainer.model),
    }
    return Program(described(built, told), told)


def _all_finite(emitter: Emitter, options: Options, made: list[Value]) -> Array:
    """Return for each image whether its input, and what is ``made`` of it, are finite: what an `Explainer` refuses.

    Where images share an answer, one that is not finite tells of all of them.
    """
    x = emitter.value(options.input)
    read = [x] if x.dtype.kind == "f" and x.rank > 1 else []
    each: list[Array] = [finite(v) for v in (*read, *made)]
    if options.flow.bag:
        each = [v.astype(np.float32).min(axis=(0,), keepdims=True) > 0 for v in each]
    return functools.reduce(np.logical_and, each)


def _picture_size(options: Options) -> tuple[int, int]:
    """Return height and width of the image input."""
    size = picture_size(options.model, options.input)
    if size is None:
        shape = next(i.shape for i in options.model.inputs if i.name == options.input)
        raise OptionError(f"input {options.input!r} has shape {list(shape)}, which has no height and width")
    return size


def _sides(options: Options, m: Value) -> tuple[int, ...]:
    """Return the sizes of the input's axes, which are those of map ``m``."""
    sides = sides_of(options.model, options.input)
    if sides is None or len(sides) != m.rank - 1:
        raise OptionError(f"resize=input (--resize input): maps {list(m.shape[1:])} have other axes than the input")
    return sides


def _inputs(emitter: Emitter, options: Options, preprocess: Preprocess | None) -> dict[str, str]:
    """Append the preprocessing; return the file's inputs so far, and what each takes."""
    specs = {i.name: i for i in options.model.inputs}
    taken = dict.fromkeys(specs, "as the model takes it")
    if preprocess is None:
        return taken
    spec = specs[options.input]
    bound = preprocess.bound(spec.shape, spec.dtype)
    if bound.size != _picture_size(options):
        raise OptionError(f"preprocessing makes {bound.size}, but input {spec.name!r} has shape {list(spec.shape)}")
    emitter.scope = "prepare"
    first = len(emitter.nodes)
    pixels = emitter.input(PIXELS, np.uint8, (options.flow.images, *_picture_size(options), 3))
    emitter.feed(spec.name, prepared(pixels, bound), source=pixels, first=first)
    meaning = f"{'grey of ' if bound.channels == 'GREY' else ''}RGB pixels, 0 to 255"
    return {(PIXELS if n == spec.name else n): (meaning if n == spec.name else m) for n, m in taken.items()}


def _scored(emitter: Emitter, options: Options, target: Choice) -> Scored:
    """Append the choice of target."""
    logits = options.score.logits
    scores, classes = append_scores(emitter, logits, source=options.input), options.flow.classes
    top = emitter.emit("ArgMax", scores, axis=1, keepdims=0)
    if target == "argmax":
        chosen = top
    elif target == "input":
        given = emitter.input(TARGET, np.int64, (options.flow.answers,))
        chosen = emitter.where(given < 0, top, given)
    elif isinstance(target, str):
        raise OptionError(f"unknown target {target!r}; choose argmax, input or a class index")
    elif not 0 <= target < classes:
        raise TargetError(f"target {target} is out of range: the model has classes 0 to {classes - 1}")
    else:
        chosen = emitter.zeros_like(top, fill=target)
    column = emitter.reshape(chosen, (scores.shape[0], 1))
    numbers = emitter.emit("Range", *(emitter.constant(np.asarray(n)) for n in (0, classes, 1)))
    scored = scored_by(emitter, logits, (numbers == column).astype(scores.dtype), chosen, source=options.input)
    if target != "input":
        return scored
    # reading the element makes a runtime refuse a class that does not exist, where the product would be 0
    return dataclasses.replace(
        scored, score=emitter.reshape_like(emitter.emit("GatherElements", scores, column, axis=1), top)
    )


def _told(options: Options, method: str) -> dict[str, Any]:
    """Return the options that a method was built with, as plain values."""
    names = ("denoise", "residual", "products", "start", "saturation")
    told = {n: getattr(options, n) for n in names} | {"settings": told_settings(options.settings)}
    if find_method(method).base is not None:
        told |= {"base": options.base, "base_layer": options.base_layer.name}
    return told | {"logits": options.score.logits}


def _write(program: Program, path: Path, sources: frozenset[Path]) -> Exported:
    from .imaging import write_atomically

    model = program.model
    check_written(model)
    beside = path.with_name(f"{path.name}.data") if lies_beside(model) else None
    for file in (path, *([beside] if beside else [])):
        if Path(os.path.realpath(file)) in sources:
            raise OutputError(f"{file} is the model itself, or its weights; name another file")
    content, weights = written(model, beside=beside.name if beside else None)
    if beside:
        write_atomically(beside, lambda file: write_weights(file, weights))
    write_atomically(path, lambda file: write_whole(file, content))
    size = sum(f.stat().st_size for f in (path, *([beside] if beside else [])))
    return Exported(path, beside, size, model.inputs, model.outputs, program.metadata)
