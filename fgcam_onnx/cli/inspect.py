"""``fgcam inspect``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..preparing import labels_file_of
from .grouping import Command
from .meaning import MEANING, stated
from .options import ENDS
from .saying import say
from .values import Size

if TYPE_CHECKING:
    from ..graph.model import Model, TensorSpec
    from ..graph.score import Score
    from ..heads import Stated
    from ..layers.layers import Layer
    from ..layers.tokens import Grid

SHOWN = 12

NAMELESS = "unk__"
"""What onnx's inference begins the names with that it gives to sizes it does not know."""


@click.command(name="inspect", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@ENDS
@MEANING
@click.option("--labels", "labels_file", type=click.Path(path_type=Path), help="Class names: .txt or .json.")
@click.option("--size", type=Size(), help="The input's size, where the model leaves it open.")
@click.option("--grid", type=Size(), help="A transformer's grid of tokens, where the graph does not show it.")
@click.option("--all", "every", is_flag=True, help=f"List every layer, not the {SHOWN} best.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    model: Path,
    input_name: str | None,
    output_name: str | None,
    size: tuple[int, ...] | None,
    grid: tuple[int, int] | None,
    every: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what is in MODEL: inputs, outputs, exporter, the layers to explain at, operators without rules.

    Layers are ranked as base layers: the deepest that still has spatial extent and that all of the score
    passes through comes first, and is the default. Tokens of a transformer are folded to their grid, class and
    register tokens left out; layers of which the score uses nothing come last.

    Where MODEL leaves the size of its input open, layers are those at --size, or at that of the preprocessing file
    beside it.
    """
    meant = stated(options, labels_file_of(model, options["labels_file"]))
    report = report_on(model, input_name=input_name, output_name=output_name, size=size, grid=grid, head=meant)
    if as_json:
        say(json.dumps(report, indent=1))
        return
    from .tables import inspection

    inspection(report, shown=None if every else SHOWN)


def report_on(
    path: Path,
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    size: tuple[int, ...] | None = None,
    grid: tuple[int, ...] | None = None,
    head: Stated | None = None,
) -> dict[str, Any]:
    """Return what is known of a model as plain values; what is not, as None and a line in ``notes``."""
    from ..arguments import image_input
    from ..errors import FgcamError, InputError, LayerError, OptionError, TargetError
    from ..heads import NOTHING, meaning_of
    from ..imaging import find_sidecar
    from ..layers.layers import ranked_layers
    from ..layers.scopes import calls_of
    from ..loading.loading import load
    from ..methods.grounds import by_kind
    from ..saving.saving import check_plain
    from ..sizes import is_open
    from ..support import support_of

    model = load(path)
    notes: list[str] = []
    score, meant, image, layers, support, ground = None, None, None, [], {}, None
    explanation, sidecar = _explanation(model), find_sidecar(path)
    try:
        notes += model.notes
        check_plain(model)
        image = image_input(model.inputs, input_name)
        model, told = _at_a_size(model, image, size, sidecar)
        notes += told
        image = image_input(model.inputs, image.name)
        score, meant = meaning_of(model, output_name, source=image.name, stated=head or NOTHING)
        notes += meant.notes
        where: dict[str, Any] = {"logits": score.logits, "source": input_name, "grid": grid}
        layers = ranked_layers(model, **where)
        ground = by_kind(model, base="", **where) if layers else None
        base = layers[0].name if layers else None
        if not is_open(image):
            support = support_of(model, logits=score.logits, input=image.name, base=base)
    except FgcamError as error:
        given = (input_name, output_name, size, grid)
        named = any(g is not None for g in given) or head not in (None, NOTHING)
        if named and isinstance(error, InputError | LayerError | OptionError | TargetError):
            raise
        notes.append(str(error))
    if score is not None and image is not None and not layers and not is_open(image):
        notes.append("no layer has channels and spatial extent: what can be explained is the input")
    calls = calls_of(model, layers)
    return {
        "model": str(path),
        "producer": model.producer,
        "opset": model.opset_read,
        "nodes": len(model.nodes),
        "parameters": sum(int(a.size) for a in model.constants.values()),
        "preprocess": sidecar.name if sidecar else None,
        "guess": None if sidecar else _guess(model, input_name),
        "takes": _takes(model, image) if image else None,
        "inputs": _tensors(model.inputs),
        "outputs": _tensors(model.outputs),
        "score": _score(model, score, image.name if image else None) if score else None,
        "head": meant.summary() if meant else None,
        "layers": [_layer(i, x, calls.get(x.name)) for i, x in enumerate(layers, 1)],
        "support": {
            walk: {"missing": s.missing, "blocked": sum(x.name in s.blocked for x in layers)}
            for walk, s in support.items()
        },
        "auto": {"base": ground.base or None, "layer": ground.layer.name, "why": ground.why} if ground else None,
        "int8": _products(model),
        "explanation": explanation,
        "notes": notes,
    }


def _at_a_size(
    model: Model, image: TensorSpec, size: tuple[int, ...] | None, sidecar: Path | None
) -> tuple[Model, list[str]]:
    """Return the model at the size given, else at that of the file beside it, and what has to be said of it."""
    from ..imaging import preprocess_from
    from ..sizes import bound_to, is_open, size_given

    beside = preprocess_from(sidecar).size if sidecar is not None and size is None and is_open(image) else None
    if size is None and beside is None:
        open_ = f"the size of input {image.name!r} is open: which layers there are shows at one (--size HxW)"
        return model, [open_] if is_open(image) else []
    shape = size_given(model, image.name, size or beside)
    found = bound_to(model, {image.name: (None, *shape)}) if shape else model
    told = (
        f"layers are those at {' x '.join(map(str, beside))}, the size in {sidecar.name}" if beside and sidecar else ""
    )
    return found, [told] if told else []


def _takes(model: Model, image: TensorSpec) -> str:
    """Return what `fgcam explain` takes for an input: ``pictures``, ``clips``, or ``arrays`` as they are."""
    from ..feeding import clip_of
    from ..surgery.framing import pictured

    framed = pictured(model, image)
    return "pictures" if len(framed.shape) == 4 else "clips" if clip_of(framed, model) is not None else "arrays"


def _guess(model: Model, input_name: str | None) -> str | None:
    """Return how pictures would be prepared, and why, where nothing says it."""
    from ..guessing import guess

    named = [i for i in model.inputs if input_name in (None, i.name)]
    if len(named) != 1 or len(named[0].shape) != 4:
        return None
    found = guess(model, named[0])
    return f"{found.name}, since {found.evidence}"


def _products(model: Model) -> dict[str, Any] | None:
    """Return how many products of integers there are, how many can overflow, and what this processor makes of them."""
    from ..arithmetic import arithmetic_of, told
    from ..surgery.products import overflowing, products_of

    here = arithmetic_of(model)
    if here is None:
        return None
    return {
        "products": len(products_of(model)),
        "overflowing": len(overflowing(model)),
        "here": here,
        "line": told(model),
    }


def _explanation(model: Model) -> dict[str, Any] | None:
    """Return what an exported file says of its explanation, or None for any other model."""
    from ..saving.saving import metadata_of

    plain = ("int8", "method", "normalize", "resize", "source", "source_sha256", "target", "version")
    told = metadata_of(model)
    try:
        read = {k: v if k in plain else json.loads(v or "null") for k, v in told.items()}
    except (RecursionError, ValueError):
        return None
    return read if isinstance(read.get("options"), dict) and isinstance(read["layers"], list) else None


def _score(model: Model, score: Score, source: str | None) -> dict[str, Any]:
    from ..errors import FgcamError
    from ..program import class_count

    try:
        classes: int | None = class_count(model, score.logits, source=source)
    except FgcamError:
        classes = None
    return {"output": score.output, "logits": score.logits, "skipped": score.skipped, "classes": classes}


def _layer(rank: int, layer: Layer, call: tuple[int, int] | None) -> dict[str, Any]:
    return {
        "rank": rank,
        "name": layer.name,
        "node": layer.node,
        "scope": layer.scope,
        "op": layer.op,
        "shape": [d if isinstance(d, int) else None for d in layer.shape],
        "channels": layer.channels,
        "spatial": list(layer.spatial),
        "channel_axis": layer.channel_axis,
        "tokens": _tokens(layer.grid),
        "every_path": layer.every_path,
        "shared": layer.shared,
        "answer": layer.answer,
        "call": list(call) if call else None,
        "reach": layer.reach,
        "why": layer.why,
    }


def _tokens(grid: Grid | None) -> dict[str, Any] | None:
    """Return how tokens lie in the picture: how many are left out in front and behind, and the grid."""
    if grid is None:
        return None
    return {"before": grid.before, "after": grid.after, "grid": list(grid.size), "axis": grid.axis}


def _tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": s.name,
            "dtype": str(s.dtype) if s.dtype != object else "text, map or sequence",
            "shape": ["?" if d is None or str(d).startswith(NAMELESS) else d for d in s.shape],
        }
        for s in specs
    ]
