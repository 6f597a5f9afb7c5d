"""``fgcam sweep``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..preparing import OVERRIDES, Preparation, labels_file_of, prepare, recorded
from .feeding import FEED, check_fed, files_of, read_feeds
from .grouping import Command
from .meaning import MEANING, noted, stated
from .options import DEVICE, DRAWN, INT8, PICTURES, STYLE
from .record import hashes, made_now, options_given, read_record, repeated, weights_beside
from .saying import say
from .targets import HELP, read_targets

if TYPE_CHECKING:
    from ..sweep import Sweep


@click.command(name="sweep", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.argument("picture", type=click.Path(path_type=Path), required=False)
@click.option(
    "--method", "methods", multiple=True, metavar="NAME",
    help="A column; repeatable.  [default: fgcam, gradcam, layercam, relevancecam]",
)  # fmt: skip
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME|input",
    help="A row; repeatable.  [default: the input, for methods that reach it, and the best layer of each resolution]",
)  # fmt: skip
@click.option("--target", metavar="TARGET", help=HELP.replace("top:K, the K top classes; ", ""))
@click.option("--base", metavar="NAME", help="The CAM that is refined.  [default: gradcam; auto: as suits the net]")
@click.option("--base-layer", metavar="NAME", help="Where the base is computed.  [default: the deepest]")
@MEANING
@PICTURES
@FEED
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The sheet, PNG.  [default: PICTURE.sweep.png]")
@click.option("--tile", type=click.IntRange(64, 1024), default=224, help="Side of an overlay in pixels.")
@STYLE
@click.option("--batch", type=click.IntRange(1), default=8, help="Masks run at once, for methods that have some.")
@INT8
@DEVICE
@click.option(
    "--from", "record", type=click.Path(path_type=Path), metavar="FILE",
    help="Repeat the run that a sheet's .json tells of, the files being what they were; -o and --json may differ.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the layers, methods and failures as JSON.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Explain PICTURE at every stage of MODEL by several methods, on one sheet.

    Rows are layers from the input to the deepest, columns methods. What a method cannot do at a layer is said
    in its place; the exit code is 1 only where nothing could be explained. Beside the sheet stands a .json of its
    name with all that is needed to repeat the run.

    \b
    fgcam sweep model.onnx dog.jpg --labels labels.txt -o dog.png
    fgcam sweep model.onnx dog.jpg --method gradcam --method layercam --layer layer3 --layer layer4
    fgcam sweep --from dog.json -o again.png
    """  # noqa: D301
    from ..arguments import image_input
    from ..arithmetic import arithmetic_of, told
    from ..errors import OptionError
    from ..explainer import Explainer
    from ..imaging import Seen, footed, read_image, save_json, save_png
    from ..imaging.writing import sha256_of
    from ..loading.loading import load
    from ..surgery.framing import pictured
    from ..sweep import sweep

    record = read_record(options["record"], command="sweep") if options["record"] is not None else None
    if record is not None:
        options = repeated(ctx, record)
    model, picture = options.pop("model"), options.pop("picture")
    if model is None or picture is None:
        raise click.UsageError("Name a MODEL and a PICTURE, or a record with --from.", ctx)
    out = options["out"] or Path(f"{picture.stem}.sweep.png")
    if out.suffix.lower() != ".png":
        raise OptionError(f"{out}: the sheet is a PNG; give a name that ends in .png")
    loaded = load(model)
    image = pictured(loaded, image_input(loaded.inputs, options["input_name"]))
    overrides = {k: options[k] for k in OVERRIDES}
    told_before = record["preprocess"] if record is not None else None
    prepared = recorded(told_before) if told_before else prepare(loaded, options["spec"], image=image, **overrides)
    feeds = read_feeds(options["feeds"], model=loaded, image=image, spec=options["spec"], **overrides)
    check_fed(list(feeds), model=loaded, image=image)
    preprocess = prepared.preprocess
    labels_file = labels_file_of(model, options["labels_file"])
    meant = stated(options, labels_file)
    passed = {name: options[name] for name in ("batch", "int8", "device", "threads")}
    passed |= {"input": options["input_name"], "output": options["output_name"]}
    passed["head"] = meant
    explainer = Explainer(loaded, method="gradcam", **passed)
    noted(explainer.head)
    labels = explainer.head.labels or meant.labels
    targets, top = read_targets(
        options["target"], labels=labels, explainer=explainer, preprocess=preprocess, boxes=options["decode"]
    )
    if top:
        raise OptionError("a sweep is of one target; `fgcam explain` takes top:K")
    pixels = read_image(picture, white=preprocess.white)
    found = sweep(
        loaded, {image.name: preprocess(pixels), **feeds}, methods=options["methods"] or None,
        layers=options["layers"] or None, target=targets[0], base=options["base"], base_layer=options["base_layer"],
        **passed,
    )  # fmt: skip
    name = found.described or (labels[found.target] if found.target < len(labels) else str(found.target))
    seen = Seen(pixels, preprocess.view(pixels), preprocess.placement(pixels.size))
    shown = replace(found, seen=seen)
    title = f"{picture.name}: {shown.title}"
    sheet = shown.sheet(title=title, tile=options["tile"], **{name: options[name] for name in DRAWN})
    out.parent.mkdir(parents=True, exist_ok=True)
    path = save_png(out, footed(sheet, notes=(*_alike(found), *prepared.notes)))
    int8 = arithmetic_of(explainer.model)
    report = {"model": str(model), "command": "sweep", **_summary(found, name=name, path=path, int8=int8)}
    files = [f for f in (labels_file, *files_of(options["feeds"])) if f is not None]
    report |= {
        "preprocess": prepared.summary(),
        "images": [{"image": str(picture), "sha256": sha256_of(picture)}],
        **made_now(),
        "options": options_given({"model": model, "picture": picture, **options}),
        "files": hashes([model, *weights_beside(loaded), *files]),
    }
    save_json(out.with_suffix(".json"), report)
    _report(found, report, prepared=prepared, as_json=options["as_json"])
    if int8 == "saturating":
        say(told(explainer.model), err=True)


def _alike(found: Sweep) -> list[str]:
    """Return for each layer how alike the maps of methods are."""
    from ..imaging import likenesses
    from ..imaging.likeness import told

    lines = []
    for layer in found.layers:
        maps = {m: found.maps[layer, m] for m in found.methods if (layer, m) in found.maps}
        lines += told(likenesses(maps), what=f"methods at {layer}")
    return lines


def _summary(found: Sweep, *, name: str, path: Path, int8: str | None) -> dict[str, Any]:
    return {
        "target": found.target,
        "label": name,
        "score": round(found.score, 6),
        "layers": found.layers,
        "methods": found.methods,
        "failures": [{"layer": a, "method": b, "error": e} for (a, b), e in found.failures.items()],
        "int8": int8,
        "sheet": str(path),
    }


def _report(found: Sweep, report: dict[str, Any], *, prepared: Preparation, as_json: bool) -> None:
    if as_json:
        say(json.dumps(report, indent=1))
        return
    made = f"{len(found.maps)} maps at {len(found.layers)} layers in {report['sheet']}"
    say(f"{report['label']}, score {found.score:.4g}: {made}")
    say(f"preprocessing: {prepared.told}")
    for (layer, method), error in found.failures.items():
        say(f"{method} at {layer}: {error}", err=True)
