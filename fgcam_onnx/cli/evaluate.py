"""``fgcam evaluate``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .grouping import Command
from .meaning import MEANING, opened
from .options import DEVICE, HIRED, PICTURES, hands
from .saying import say
from .values import SWITCHES, parse_settings

if TYPE_CHECKING:
    from ..evaluation import Evaluation, Variant
    from ..evaluation.truth import Regions
    from ..metrics import Metric

WORDS = ("base", "base_layer", "residual", "products", "start")
FLAGS = ("denoise", "eigen_smooth", "aug_smooth", "saturation")
"""Options of the explainer that a method may be given by ``+NAME=VALUE``, beside its own settings."""


@click.command(name="evaluate", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--methods", "--method", multiple=True, metavar="NAME[+OPTION=VALUE]",
    help="What is judged, such as lrp+composite=epsilonplus; repeatable, or with commas between.  [default: fgcam, "
    "gradcam, layercam, relevancecam]",
)  # fmt: skip
@click.option(
    "--layers", "--layer", multiple=True, metavar="NAME|input|stages",
    help="Where, repeatable; stages is the input and the best layer of each resolution.  [default: where each method "
    "has its map]",
)  # fmt: skip
@click.option(
    "--metrics", "--metric", multiple=True, metavar="NAME[@CELLS]",
    help="What is measured, such as insertion@16; repeatable, or with commas between. `fgcam metrics` lists them.",
)  # fmt: skip
@click.option("--cells", type=click.IntRange(1), help="Average maps over cells of so many pixels for every metric.")
@click.option(
    "--steps", type=click.IntRange(2), help="Read curves at so many even steps, 224 as published.  [default: 16 uneven]"
)
@click.option("--controls/--no-controls", default=True, help="Also measure maps that know nothing of the model.")
@click.option(
    "--labels-from", type=click.Path(path_type=Path),
    help="The class of each picture: CSV (file, class) or JSON.  [default: the likeliest]",
)  # fmt: skip
@click.option(
    "--boxes", type=click.Path(path_type=Path),
    help="Where the objects are: COCO JSON, Pascal VOC XML (a file or a folder), CSV (file, x0, y0, x1, y1, class).",
)  # fmt: skip
@click.option("--masks", type=click.Path(path_type=Path), help="The same as PNG files, named like the pictures.")
@click.option("--against", metavar="ROW", help="The row that others are compared with.  [default: the first]")
@PICTURES
@MEANING
@click.option("--seed", type=click.IntRange(0), default=0, help="Of all that is drawn at random.")
@click.option("--batch", type=click.IntRange(1), default=8, help="Pictures run at once.")
@DEVICE
@hands("Ray's.  [default: as many as there are cores, but one]")
@click.option("--gallery", type=click.IntRange(0), default=18, help="Pictures shown on the page, at most.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("evaluation"), help="Output folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(model: Path, images: tuple[str, ...], **options: Any) -> None:
    """Measure how good the maps of MODEL are on IMAGES: files, folders or globs.

    Writes a table of every picture (CSV), means with intervals and differences (JSON), and a page. A run that was
    stopped goes on where it was when the same command is given again. The exit code is 1 when a picture failed.

    \b
    fgcam evaluate model.onnx photos/ --labels-from classes.csv --boxes boxes.json -o judged
    fgcam evaluate model.onnx photos/ --methods fgcam,gradcam --layers stages --metrics rank_drop,insertion@16
    """  # noqa: D301
    from ..evaluation import evaluate, read_classes
    from ..metrics import CONTROLS
    from ..sweep import USUAL
    from .progress import Meter

    given = opened(model, options)
    labels = given.head.labels
    names = split_names(options["methods"]) or USUAL
    with Meter(quiet=options["as_json"]).batches() as progress:
        found = evaluate(
            given.model, images,
            methods=[parse_variant(n) for n in names],
            layers=options["layers"] or None,
            metrics=parse_metrics(split_names(options["metrics"]), cells=options["cells"], steps=options["steps"],
                                  regions=bool(options["boxes"] or options["masks"])),
            controls=tuple(CONTROLS) if options["controls"] else (),
            preprocess=given.prepared.preprocess,
            classes=read_classes(options["labels_from"], labels=labels) if options["labels_from"] else None,
            regions=regions_of(options["boxes"], options["masks"], labels),
            labels=labels, against=options["against"], out=options["out"], pictures=options["gallery"],
            seed=options["seed"], batch=options["batch"], device=options["device"], threads=options["threads"],
            input=options["input_name"], output=options["output_name"], head=given.stated, progress=progress,
            **{n: options[n] for n in HIRED},
        )  # fmt: skip
    if options["as_json"]:
        import json

        say(json.dumps(found.summary(), indent=1))
    else:
        show(found, origin=given.prepared.told, folder=options["out"])
    for name, why in found.errors.items():
        say(why if why.startswith(name) else f"{name}: {why}", err=True)
    if found.errors:
        say(f"{len(found.errors)} of {len(found.items) + len(found.errors)} pictures failed", err=True)
        sys.exit(1)


def split_names(given: Sequence[str]) -> list[str]:
    """Return the names of an option that is repeated, or has commas between."""
    return [part.strip() for text in given for part in text.split(",") if part.strip()]


def regions_of(boxes: Path | None, masks: Path | None, labels: Sequence[str]) -> Regions | None:
    """Return where the objects are, by boxes or masks.

    Raises
    ------
    OptionError
        Both are given, or one cannot be read.
    """
    from ..errors import OptionError
    from ..evaluation import Masks, read_boxes

    if boxes and masks:
        raise OptionError("boxes and masks both say where the objects are: pass one")
    if masks and not os.path.isdir(masks):
        raise OptionError(f"{masks}: not a folder of masks")
    return read_boxes(boxes, labels=labels) if boxes else Masks(masks) if masks else None


def parse_variant(text: str) -> Variant:
    """Return the method with options that ``NAME+OPTION=VALUE`` means.

    Raises
    ------
    OptionError
        No such method or option, or a value that it cannot have.
    """
    from ..errors import OptionError
    from ..evaluation import Variant
    from ..methods import find_method

    method, *pairs = text.split("+")
    find_method(method)
    found: dict[str, Any] = {}
    settings = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if name in WORDS and equals:
            found[name] = value
        elif name in FLAGS and value.lower() in SWITCHES:
            found[name] = SWITCHES[value.lower()]
        elif name in FLAGS:
            raise OptionError(f"{text}: {name} is true or false")
        else:
            settings.append(pair)
    found |= parse_settings(settings, method=method, base=found.get("base", "gradcam"))
    return Variant(text, method, found)


def parse_metrics(names: Sequence[str], *, cells: int | None, steps: int | None, regions: bool) -> list[Metric]:
    """Return the metrics that ``NAME`` or ``NAME@CELLS`` mean; the usual ones where none is named.

    Raises
    ------
    OptionError
        No such metric, or none that has steps where they are given.
    """
    from ..errors import OptionError
    from ..metrics import USUAL, find_metric

    found = [m for m in USUAL if regions or not m.needs_region] if not names else []
    for text in names:
        name, at, size = text.partition("@")
        if at and not size.isdecimal():
            raise OptionError(f"{text}: write NAME@CELLS with the side of a cell in pixels, such as insertion@16")
        found.append(find_metric(name, cells=int(size) if at else 1))
    if cells is not None:
        found = [m if "@" in m.name and names else m.at(cells) for m in found]
    if steps is not None:
        even = tuple(k / steps for k in range(1, steps))
        if not any("shares" in m.parameters for m in found):
            raise OptionError("--steps is for metrics that read a curve, such as insertion and deletion")
        found = [m.having(shares=even) if "shares" in m.parameters else m for m in found]
    return found


def show(found: Evaluation, *, origin: str, folder: Path) -> None:
    """Print the table: means, half the width of their intervals, and how each compares with the reference."""
    from rich.text import Text

    from ..evaluation.page import about, best_lines, verdict, verdict_of
    from .saying import console
    from .tables import table_of

    best = {m.name: [line.label for line in best_lines(found, m)] for m in found.metrics}
    rows = []
    for line in found.lines:
        style = "dim" if line.subject is None else ""
        row = [Text(line.label, style=style)]
        for metric in found.metrics:
            value = line.values.get(metric.name)
            if value is None:
                row.append(Text("-", style="dim"))
                continue
            cell = Text(f"{value.mean:.3f}", style="bold" if line.label in best[metric.name] else style)
            cell.append(f" ±{max(value.high - value.mean, value.mean - value.low):.2f}", style="dim")
            said = verdict_of(metric, line.against.get(metric.name))
            mark, colour = {"better": ("▲", "green"), "worse": ("▼", "red")}.get(said, (" ", ""))
            row.append(cell.append(f" {mark}", style=colour))
        rows.append(row)
    arrows = {"higher": "↑", "lower": "↓"}
    heads = [f"{m.name} {arrows[m.better]}{' ⚠' if found.won_by(m) else ''}" for m in found.metrics]
    out = console()
    out.print(table_of([("map", "left"), *((h, "right") for h in heads)], rows))
    won = {m.name: found.won_by(m) for m in found.metrics if found.won_by(m)}
    lines = [about(found), verdict(found), "▲ better, ▼ worse than the row compared with, 95 % sure"]
    lines += [
        f"⚠ {name} is won by {', '.join(controls)}: it does not tell maps apart" for name, controls in won.items()
    ]
    lines += [*found.notes, f"preprocessing: {origin}", f"written to {folder}/, the page is evaluation.html"]
    for text in lines:
        out.print(Text(text), style="dim", soft_wrap=True)
