"""``fgcam explain``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import DEVICE, PICTURES, RULES, STYLE
from .targets import HELP, read_targets
from .values import Size, parse_settings, resolve_preprocess

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..pictures import Picture


PASSED_ON = (
    "method layers base base_layer grid denoise eigen_smooth residual products start trace aug_smooth saturation"
    " device threads batch"
).split()
"""Options that the explainer knows by the same name."""


@click.command(name="explain", context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
@click.option("--method", default="fgcam", help="How to explain; `fgcam methods` lists them all.")
@click.option("--base", default="gradcam", help="The CAM that fgcam refines, such as gradcam or scorecam.")
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
@click.option("--boxes", default="auto", help="How a detector writes boxes: auto, cxcywh, xyxy, yxyx or grid.")
@RULES
@click.option("--composite", metavar="NAME", help="The rules of lrp, such as epsilongammabox: --set composite=NAME.")
@click.option("--trace", is_flag=True, help="Show what every operator makes of the relevance that reaches it.")
@PICTURES
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("explanations"), help="Output folder.")
@click.option("--overlay/--raw", default=True, help="Write overlays (PNG) or the raw signed maps (NPY).")
@STYLE
@click.option("--batch", type=click.IntRange(1), default=8, help="Pictures (Score-CAM: masks) run at once.")
@DEVICE
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(model: Path, images: tuple[str, ...], **options: Any) -> None:
    """Explain what MODEL sees in IMAGES: files, folders or globs.

    Writes an overlay for each picture, layer and target, and explanations.json with targets, scores and
    conservation (sum of the map over sum of the components it was refined from). The exit code is 1 when
    a picture failed; the others are still done.

    \b
    fgcam explain model.onnx photos/ --labels labels.txt
    fgcam explain model.onnx dog.jpg --target "tabby cat" --layer input --layer layer2
    fgcam explain model.onnx dog.jpg --base scorecam --denoise --raw -o maps
    fgcam explain model.onnx dog.jpg --method lrp --composite epsilongammabox --signed --trace
    """  # noqa: D301
    from ..arguments import image_input
    from ..imaging import find_images, find_sidecar, make_folder, read_labels, save_json, sidecar_labels
    from ..loading.loading import load
    from ..pictures import explain_pictures, unique_stems, write_picture
    from .progress import Meter

    paths = find_images(images)
    loaded = load(model)
    image = image_input(loaded.inputs, options["input_name"])
    overrides = {k: options[k] for k in ("size", "resize", "layout", "channels", "scale", "mean", "std")}
    preprocess, origin = resolve_preprocess(model, options["spec"], image, **overrides)
    sidecar = find_sidecar(model)
    labels_file = options["labels_file"] or (sidecar_labels(sidecar) if sidecar else None)
    labels = read_labels(labels_file) if labels_file else ()
    explainer = _explainer(loaded, options, meter := Meter(quiet=options["as_json"]))
    targets, top = read_targets(
        options["target"], labels=labels, explainer=explainer, preprocess=preprocess,
        seed=options["seed"], boxes=options["boxes"],
    )  # fmt: skip
    make_folder(options["out"])
    results: list[Picture] = []
    style = {"colormap": options["colormap"], "alpha": options["alpha"], "signed": options["signed"]}
    with meter.pictures(len(paths)) as advance:
        found = explain_pictures(
            explainer, paths, preprocess=preprocess, targets=targets, top=top, labels=labels,
            batch=options["batch"], fusion=options["fuse"],
        )  # fmt: skip
        for picture, stem in zip(found, unique_stems(paths), strict=True):
            write_picture(
                picture, options["out"], stem=stem, raw=not options["overlay"],
                **(style if options["overlay"] else {}),
            )  # fmt: skip
            results.append(picture)
            advance()
    summary = {
        "model": str(model),
        "method": options["method"],
        "base": options["base"] if options["method"] == "fgcam" else None,
        "settings": explainer.choices.settings,
        "aug_smooth": options["aug_smooth"],
        "eigen_smooth": options["eigen_smooth"],
        "fuse": options["fuse"],
        "denoise": options["denoise"],
        "layers": sorted({name for p in results for e in p.explained for name in e.maps}),
        "preprocess": origin,
        "images": [p.summary() for p in results],
    }
    path = save_json(options["out"] / "explanations.json", summary)
    if options["as_json"]:
        click.echo(json.dumps(summary, indent=1))
    else:
        from .tables import explanations_table

        explanations_table(results, preprocess=origin, summary=path)
        if options["trace"]:
            from .trace import trace_tables

            trace_tables(results)
    for picture in results:
        said = picture.emptiness(signed=options["signed"])
        if said:
            click.echo(f"{picture.path}: {said}", err=True)
    failed = [p for p in results if p.error]
    for picture in failed:
        named = picture.error.startswith(str(picture.path))
        click.echo(picture.error if named else f"{picture.path}: {picture.error}", err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(results)} pictures failed", err=True)
        sys.exit(1)


def _explainer(model: Any, options: dict[str, Any], meter: Any) -> Explainer:
    from ..explainer import Explainer

    same = {name: options[name] for name in PASSED_ON} | {"layers": options["layers"] or None}
    pairs = list(options["pairs"])
    if options["composite"]:
        pairs.append(f"composite={options['composite']}")
    settings = parse_settings(pairs, method=options["method"], base=options["base"])
    return Explainer(
        model, **same, input=options["input_name"], output=options["output_name"], progress=meter.masks, **settings
    )
