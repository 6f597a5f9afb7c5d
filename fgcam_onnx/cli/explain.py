"""``fgcam explain``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..defaults import METHOD
from ..preparing import OVERRIDES, labels_file_of, prepare, recorded, untouched
from .feeding import FEED, check_fed, files_of, read_feeds
from .grouping import Command
from .meaning import MEANING, noted, stated
from .options import DEVICE, DRAWN, INT8, PICTURES, RULES, STYLE
from .record import hashes, options_given, read_record, repeated, weights_beside
from .saying import say
from .targets import HELP, read_targets
from .values import Size, settings_by_method

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..graph.model import Model
    from ..heads import Stated
    from ..imaging import Style


PASSED_ON = "layers grid aug_smooth int8 device threads batch".split()
"""Options that every explainer knows by the same name; those of some methods only are in ``methods.taking.UNSAID``."""


@click.command(name="explain", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.argument("images", nargs=-1)
@click.option(
    "--method", "methods", multiple=True, metavar="NAME",
    help="How to explain, `fgcam methods` lists them all; repeatable: one sheet has them all.  "
    f"[default: {METHOD}]",
)  # fmt: skip
@click.option("--base", metavar="NAME", help="The CAM that is refined.  [default: gradcam; auto: as suits the net]")
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="A setting of the method's own, such as masks=500 of rise; repeatable. `fgcam methods` lists them.",
)  # fmt: skip
@click.option(
    "--aug-smooth", is_flag=True,
    help="Average the map over the picture and its mirror image, each times 0.9, 1 and 1.1: six runs.",
)  # fmt: skip
@click.option("--denoise", is_flag=True, help="Keep the leading singular directions of the base's components.")
@click.option("--eigen-smooth", is_flag=True, help="A CAM's first principal component in place of its channel sum.")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME|input|all",
    help="Where maps are wanted: tensor, node, exporter scope (layer4) or a unique prefix; repeatable. "
    " [default: the input for methods that reach it, the base layer for the others]",
)  # fmt: skip
@click.option("--fuse", metavar="mean|max|product", help="Also make one map of all layers' maps.")
@click.option("--base-layer", metavar="NAME", help="Where the base is computed.  [default: the deepest]")
@click.option("--grid", type=Size(), help="A transformer's grid of tokens.  [default: as the graph shows it]")
@click.option("--target", metavar="TARGET", help=HELP)
@click.option(
    "--seed", type=click.Path(path_type=Path), help="Explain a weighted sum of the output: its weights, .npy."
)
@MEANING
@RULES
@click.option("--composite", metavar="NAME", help="The rules of lrp, such as epsilongammabox: --set composite=NAME.")
@click.option("--trace", is_flag=True, help="Show what every operator makes of the relevance that reaches it.")
@PICTURES
@FEED
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("explanations"), help="Output folder.")
@click.option("--overlay/--raw", default=True, help="Write overlays (PNG) or the raw signed maps (NPY).")
@STYLE
@click.option("--batch", type=click.IntRange(1), default=8, help="Pictures (Score-CAM: masks) run at once.")
@INT8
@DEVICE
@click.option(
    "--from", "record", type=click.Path(path_type=Path), metavar="FILE",
    help="Repeat the run of an explanations.json, the files being what they were; -o and --json may differ.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Explain what MODEL sees in IMAGES: files, folders or globs; of clips, folders of frames.

    Writes an overlay for each picture, layer and target, and explanations.json with targets, scores,
    conservation (sum of the map over sum of the components it was refined from) and all that is needed to
    repeat the run. Arrays (.npy, .npz), sounds (.wav) and scans (.nii) are taken as they are: signals are drawn as
    curves, volumes and clips as slices and an animated PNG. The exit code is 1 when a picture failed; the others are
    still done. A run that was stopped, or killed, goes on where it was when the same command is given again.

    \b
    fgcam explain model.onnx photos/ --labels labels.txt
    fgcam explain model.onnx dog.jpg --target "tabby cat" --layer input --layer layer2
    fgcam explain model.onnx dog.jpg --base scorecam --denoise --raw -o maps
    fgcam explain model.onnx dog.jpg --method lrp --composite epsilongammabox --signed --trace
    fgcam explain model.onnx dog.jpg --method gradcam --method fgcam --method rise
    fgcam explain --from explanations/explanations.json -o again
    """  # noqa: D301
    from ..arguments import image_input
    from ..arithmetic import arithmetic_of
    from ..arithmetic import told as saturating
    from ..feeding import clip_of, sources
    from ..imaging import make_folder
    from ..imaging.arrays import is_array
    from ..loading.loading import load
    from ..pictures import explain_pictures, unique_stems
    from ..stream import Item
    from ..surgery.framing import pictured
    from ..written import Writing
    from .progress import Meter
    from .recorded import Run, emptiness_of

    record = read_record(options["record"]) if options["record"] is not None else None
    if record is not None:
        options = repeated(ctx, record)
    style = _style(ctx, options)
    model, images = options.pop("model"), options.pop("images")
    if model is None or not images:
        raise click.UsageError("Name a MODEL and IMAGES, or a record with --from.", ctx)
    loaded = load(model)
    for note in loaded.notes:
        say(f"note: {note}", err=True)
    image = pictured(loaded, image_input(loaded.inputs, options["input_name"]))
    clip = clip_of(image, loaded)
    paths = sources(images, clips=clip is not None) if record is None else [Path(i["image"]) for i in record["images"]]
    overrides = {k: options[k] for k in OVERRIDES}
    if record is not None:
        prepared = recorded(record["preprocess"])
    elif all(map(is_array, paths)) and options["spec"] is None and _liked(options["target"]) is None:
        prepared = untouched()
    else:
        prepared = prepare(loaded, options["spec"], image=image if clip is None else clip[1], **overrides)
    labels_file = labels_file_of(model, options["labels_file"])
    meant = stated(options, labels_file)
    feeds = read_feeds(options["feeds"], model=loaded, image=image, spec=options["spec"], **overrides)
    if not any(path.suffix.lower() == ".npz" for path in paths):
        check_fed(list(feeds), model=loaded, image=image)
    explainers = _explainers(loaded, options, meter := Meter(quiet=options["as_json"]), head=meant)
    head = explainers[0].head
    labels = head.labels or meant.labels
    noted(head)
    targets, top = read_targets(
        options["target"], labels=labels, explainer=explainers[0], preprocess=prepared.preprocess,
        seed=options["seed"], boxes=options["decode"],
    )  # fmt: skip
    out = make_folder(options["out"])
    files = [f for f in (labels_file, options["seed"], _liked(options["target"])) if f is not None]
    files += files_of(options["feeds"])
    told = {
        "model": str(model),
        **_told(explainers, options),
        "int8": arithmetic_of(explainers[0].model),
        "head": head.summary(),
        "preprocess": prepared.summary(),
        "options": options_given({"model": model, "images": images, **options}),
        "files": hashes([model, *weights_beside(loaded), *files]),
    }
    explain = partial(
        explain_pictures, explainers, preprocess=prepared.preprocess, targets=targets, top=top, labels=labels,
        feeds=feeds, fusion=options["fuse"],
    )  # fmt: skip
    items = [Item(str(path), path) for path in paths]
    stems = dict(zip((i.key for i in items), unique_stems(paths), strict=True))
    run = Run(out, told, items, batch=len(items) if explainers[0].bag else options["batch"])
    told_before = dict.fromkeys(remark for explainer in explainers for remark in explainer.remarks)
    for remark in told_before:
        say(f"note: {remark}", err=True)
    with meter.batches() as progress:
        made = run.finished(Writing(explain, out, stems, style, prepared.notes), progress=progress)
    shown = options["signed"]
    if options["as_json"]:
        with made.path.open(encoding="utf-8") as text:
            for part in text:
                say(part, end="")
    else:
        from .tables import explanations_table

        explanations_table(made.each(), preprocess=prepared.told, summary=made.path)
        if options["trace"]:
            from .trace import trace_tables

            trace_tables(made.each())
    for remark in dict.fromkeys(remark for explainer in explainers for remark in explainer.remarks):
        if remark not in told_before:  # what is built for the sizes that came
            say(f"note: {remark}", err=True)
    if told["int8"] == "saturating":
        say(saturating(explainers[0].model), err=True)
    for row in made.each():
        if lines := emptiness_of(row, signed=shown):
            say(f"{row['image']}: {lines}", err=True)
    _report_failures(made.each(), len(items))


def _report_failures(rows: Iterable[Mapping[str, Any]], count: int) -> None:
    failed = 0
    for row in rows:
        if error := row.get("error"):
            failed += 1
            say(error if error.startswith(row["image"]) else f"{row['image']}: {error}", err=True)
    if failed:
        say(f"{failed} of {count} pictures failed", err=True)
        sys.exit(1)


def _explainers(model: Model, options: dict[str, Any], meter: Any, *, head: Stated) -> list[Explainer]:
    """Return an explainer for each method, each with the options that it takes."""
    from ..explainer import Explainer
    from ..methods.taking import UNSAID, shared_out

    methods = list(dict.fromkeys(options["methods"] or (METHOD,)))
    same = {name: options[name] for name in PASSED_ON} | {"layers": options["layers"] or None}
    same |= {"input": options["input_name"], "output": options["output_name"], "progress": meter.masks}
    same["head"] = head
    given = {name: options[name] for name in UNSAID}
    own = shared_out(methods, given, layers=options["layers"] or None) if len(methods) > 1 else {methods[0]: given}
    pairs = list(options["pairs"])
    if options["composite"]:
        pairs.append(f"composite={options['composite']}")
    settings = settings_by_method(pairs, methods=methods, base=options["base"])
    return [Explainer(model, method=m, **same, **own[m], **settings[m]) for m in methods]


def _told(explainers: Sequence[Explainer], options: dict[str, Any]) -> dict[str, Any]:
    """Return the methods and what they were built with; each by itself where there are several."""
    from ..methods.taking import taken

    def one(explainer: Explainer) -> dict[str, Any]:
        choices, takes = explainer.choices, taken(explainer.method, base=explainer.base)
        names = ("denoise", "eigen_smooth", "residual", "products", "start", "saturation")
        told = {"method": explainer.method, "settings": choices.settings, "base": explainer.base or None}
        return told | {n: getattr(choices, n) if n in takes else None for n in names}

    shared = {"aug_smooth": options["aug_smooth"], "fuse": options["fuse"]}
    if len(explainers) == 1:
        return one(explainers[0]) | shared
    return {"method": [e.method for e in explainers], "methods": [one(e) for e in explainers]} | shared


def _style(ctx: click.Context, options: dict[str, Any]) -> Style | None:
    """Return how maps are drawn, None where they are not; refuse a way of drawing where nothing is drawn."""
    from ..errors import OptionError
    from ..imaging import Style

    if options["overlay"]:
        return Style(**{name: options[name] for name in DRAWN})
    commanded = click.core.ParameterSource.COMMANDLINE
    given = [p.opts[0] for p in ctx.command.params if p.name in DRAWN and ctx.get_parameter_source(p.name) is commanded]
    if given:
        raise OptionError(f"{', '.join(given)} changes nothing of --raw maps, which are not drawn: leave it out")
    return None


def _liked(target: str | None) -> Path | None:
    """Return the picture that a target names."""
    form, _, rest = (target or "").partition(":")
    return Path(rest) if form == "like" and rest else None
