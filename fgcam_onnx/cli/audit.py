"""``fgcam audit``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .grouping import Command
from .meaning import MEANING, Opened, opened
from .options import DEVICE, HIRED, INT8, PICTURES, hands, together
from .record import hashes, made_now, options_given, read_record, repeated
from .saying import say
from .targets import HELP

if TYPE_CHECKING:
    from ..auditing import Audit, Line
    from ..targets import AnyTarget

OPTIMIZATION = click.Choice(["all", "extended", "basic", "off"])
BLAMED, LEAST = 3, 0.05
"""How many layers are told of, and what share of the drift they have at least."""

TARGETS = HELP.replace("top:K, the K top classes; classes:A,B, several, a map of each; ", "").replace(
    "the top class of each picture", "the class that the reference finds likeliest"
)
CODES = {"passes": 0, "fails": 1, "undecided": 2}
COLOURS = {"passes": "green", "fails": "red", "undecided": "yellow"}

CANDIDATE = together(
    click.option("--candidate-layer", metavar="NAME", help="Its layer.  [default: the one that corresponds]"),
    click.option(
        "--candidate-preprocess", metavar="PRESET|FILE",
        help="How pictures are prepared for it.  [default: its sidecar, else as for the reference]",
    ),
    click.option("--candidate-device", help="auto, cpu or cuda.  [default: --device]"),
    click.option("--candidate-optimization", type=OPTIMIZATION, help="[default: --optimization]"),
    click.option("--candidate-int8", type=click.Choice(["deployed", "exact"]), help="[default: --int8]"),
    click.option("--candidate-input", metavar="NAME", help="[default: its only one]"),
    click.option("--candidate-output", metavar="NAME", help="[default: its only one]"),
)  # fmt: skip
"""What is another for the candidate."""


class NotJudged(click.ClickException):
    """An error of an audit: the exit code 1 is for candidates that fail."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print it as other errors are."""
        say(self.message, err=True, title="error", colour="red")


@click.command(name="audit", cls=Command, context_settings={"show_default": True})
@click.argument("reference", type=click.Path(path_type=Path), required=False)
@click.argument("candidate", type=click.Path(path_type=Path), required=False)
@click.argument("images", nargs=-1)
@click.option("--method", default="gradcam", metavar="NAME", help="What maps are compared by.")
@click.option("--layer", metavar="NAME|input", help="Where, in the reference.  [default: where the method has its map]")
@click.option("--target", metavar="TARGET", help=TARGETS)
@click.option(
    "--class-offset", type=int, default=0, help="What is added to the reference's class: 1 for a background class."
)
@PICTURES
@MEANING
@CANDIDATE
@click.option(
    "--metrics", "--metric", multiple=True, metavar="NAME[@CELLS]", help="Also measure both maps by it, repeatable."
)
@click.option("--boxes", type=click.Path(path_type=Path), help="Where the objects are: COCO JSON, Pascal VOC XML, CSV.")
@click.option("--masks", type=click.Path(path_type=Path), help="The same as PNG files, named like the pictures.")
@click.option("--fail-under", multiple=True, metavar="NAME=N", help="Fail where a mean is less, such as spearman=0.9.")
@click.option("--fail-over", multiple=True, metavar="NAME=N", help="Fail where a mean is more, such as flips=0.02.")
@click.option("--blame", is_flag=True, help="Also find the layers that the drift comes from, on the worst pictures.")
@click.option(
    "--mend", type=click.Path(path_type=Path), metavar="FILE",
    help="Write a candidate that fails with the fewest of these layers in float that let it pass, if some do.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, help="Of all that is drawn at random.")
@click.option("--batch", type=click.IntRange(1), default=8, help="Pictures compared at once.")
@DEVICE
@hands("Ray's.  [default: as many as there are cores, but one]")
@INT8
@click.option("--optimization", type=OPTIMIZATION, default="all", help="How far ONNX Runtime rewrites the graphs.")
@click.option("--gallery", type=click.IntRange(0), default=30, help="Pictures shown on the page, at most.")
@click.option("--resume", is_flag=True, help="Only go on with a run that was stopped.")
@click.option("--from", "record", type=click.Path(path_type=Path), help="Repeat the run that wrote this manifest.json.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("audit"), help="Output folder.")
@click.option("--json", "as_json", is_flag=True, help="Print audit.json instead.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Tell whether CANDIDATE still predicts, and looks at, what REFERENCE does, on IMAGES: files, folders or globs.

    Both explain what the reference predicts. The candidate fails where it surely drifts further than the reference
    itself does under harmless changes, or beyond thresholds that are given. Writes a page (audit.html), audit.json,
    audit.xml (JUnit) and manifest.json. The exit code is 0 if it passes, 1 if it fails, 2 if it cannot be judged.

    \b
    fgcam audit model.onnx model.int8.onnx photos/ --preprocess imagenet -o audit
    fgcam audit model.onnx model.int8.onnx photos/ --fail-under spearman=0.9 --fail-over flips=0.02
    fgcam audit model.int8.onnx model.int8.onnx photos/ --candidate-int8 exact
    fgcam audit model.onnx model.int8.onnx photos/ --mend mended.onnx
    """  # noqa: D301
    from ..errors import FgcamError

    try:
        found = _audited(ctx, options)
    except FgcamError as error:
        raise NotJudged(str(error)) from error
    except KeyboardInterrupt:
        say("stopped; the same command goes on where it was", err=True)
        sys.exit(130)
    sys.exit(CODES[found.outcome])


def _audited(ctx: click.Context, options: dict[str, Any]) -> Audit:
    from ..auditing import audit
    from ..imaging import find_images, save_json
    from ..stream import Hands
    from .progress import Meter

    record = read_record(options["record"]) if options["record"] is not None else None
    if record is not None:
        options = repeated(ctx, record)
    reference, candidate, images = (options.pop(n) for n in ("reference", "candidate", "images"))
    if reference is None or candidate is None or not images:
        raise click.UsageError("Name a REFERENCE, a CANDIDATE and IMAGES, or a manifest with --from.", ctx)
    hired = Hands(options["engine"], options["workers"], options["address"], options["gpus_per_worker"])
    options = hired.threaded(options)  # the manifest says what there was
    own = opened(reference, options)
    with Meter(quiet=options["as_json"]).batches() as progress:
        found = audit(own.model, candidate, images=images, progress=progress, **_given(own, options))
    files = [reference, candidate, *(f for f in (own.labels_file, options["boxes"]) if f is not None)]
    manifest = {
        "model": str(reference),
        "candidate": str(candidate),
        "preprocess": found.about["reference"]["preprocess"],
        "outcome": found.outcome,
        "images": [{"image": str(p), "sha256": d} for p, d in hashes(find_images(images)).items()],
        **made_now(),
        "options": options_given({"reference": reference, "candidate": candidate, "images": images, **options}),
        "files": hashes(files),
    }
    save_json(options["out"] / "manifest.json", manifest)
    if options["as_json"]:
        import json

        say(json.dumps(found.summary(), indent=1))
    else:
        show(found, origin=own.prepared.told, folder=options["out"], mend=options["mend"])
    for name, why in found.errors.items():
        say(why if why.startswith(name) else f"{name}: {why}", err=True)
    return found


def _given(opened: Opened, options: dict[str, Any]) -> dict[str, Any]:
    """Return what :func:`audit` is called with."""
    from ..imaging import preprocess_from
    from .evaluate import parse_metrics, regions_of, split_names

    labels = opened.head.labels
    regions = regions_of(options["boxes"], options["masks"], labels)
    names = split_names(options["metrics"])
    own = {n: options[f"candidate_{n}"] for n in ("device", "optimization", "int8", "input", "output")}
    other = options["candidate_preprocess"]
    same = {n: options[n] for n in (
        "method", "layer", "candidate_layer", "class_offset", "device", "threads", "int8", "optimization", "blame",
        "mend", "out", "resume", "seed", "batch", *HIRED)}  # fmt: skip
    return {
        **same,
        "target": _target(opened, options),
        "preprocess": opened.prepared.preprocess,
        "candidate_preprocess": preprocess_from(other) if other is not None else None,
        "metrics": parse_metrics(names, cells=None, steps=None, regions=regions is not None) if names else (),
        "regions": regions,
        "labels": labels,
        "head": opened.stated,
        "fail_under": parse_thresholds("--fail-under", options["fail_under"]),
        "fail_over": parse_thresholds("--fail-over", options["fail_over"]),
        "candidate_options": {n: v for n, v in own.items() if v is not None},
        "input": options["input_name"],
        "output": options["output_name"],
        "pictures": options["gallery"],
    }


def _target(opened: Opened, options: dict[str, Any]) -> AnyTarget:
    from ..errors import OptionError
    from ..explainer import Explainer
    from .targets import read_targets

    if options["target"] is None:
        return None
    own = {"input": options["input_name"], "output": options["output_name"], "head": opened.stated}
    targets, top = read_targets(
        options["target"],
        labels=opened.head.labels,
        explainer=Explainer(opened.model, method=options["method"], **own),
        preprocess=opened.prepared.preprocess,
    )
    if top:
        raise OptionError("an audit explains one thing of each picture: name a class, or leave --target out")
    return targets[0]


def parse_thresholds(flag: str, pairs: Sequence[str]) -> dict[str, float]:
    """Return the thresholds given as ``NAME=N``, by name.

    Raises
    ------
    OptionError
        Not of that form, or given twice.
    """
    from ..errors import OptionError

    found: dict[str, float] = {}
    for pair in (part for text in pairs for part in text.split(",")):
        name, equals, text = (part.strip() for part in pair.partition("="))
        try:
            value = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise OptionError(f"{flag} {pair!r}: write NAME=N, such as spearman=0.9")
        if name in found:
            raise OptionError(f"{flag} {name} is given twice")
        found[name] = value
    return found


def show(found: Audit, *, origin: str, folder: Path, mend: Path | None = None) -> None:
    """Print the table of measures, the verdict, and what was compared."""
    from rich.text import Text

    from ..auditing.page import OUTCOMES, about
    from .saying import console
    from .tables import table_of

    out, own, theirs = console(), found.about["reference"], found.about["candidate"]
    limit = "threshold" if found.thresholds.given else "allowed"
    numbers = ("candidate", "floor", "beyond the floor", limit)
    out.print(
        table_of(
            [("measure", "left"), *((n, "right") for n in numbers), ("", "left")], [_row(each) for each in found.lines]
        )
    )
    for judged in found.judged:
        values = ["-" if v is None else f"{v.mean:.3f}" for v in (judged.reference, judged.candidate)]
        out.print(Text(f"{judged.metric.name}: {values[0]} of the reference's maps, {values[1]} of the candidate's"))
    style = f"bold {COLOURS[found.outcome]}"
    out.print(Text.assemble((f"{OUTCOMES[found.outcome]}: ", style), found.reason), soft_wrap=True)
    for layer in found.profile.layers[:BLAMED] if found.profile is not None else ():
        if layer.measured and layer.share >= LEAST:
            out.print(
                Text(f"{layer.share:.0%} of the drift by {layer.node}: {'; '.join(layer.oddities) or 'nothing is odd'}")
            )
    if mend is not None:
        out.print(Text(_mended(found, mend)), soft_wrap=True)
    worst = ", ".join(row["item"] for row in found.ranked()[:3])
    lines = [
        about(found),
        *found.notes,
        f"layer: {own['layer']}; in the candidate {theirs['layer']}, {found.about['layers']}",
        f"preprocessing: {origin}; of the candidate {theirs['preprocess_from']}",
        *([f"worst pictures: {worst}"] if worst else []),
        f"written to {folder}/, the page is audit.html",
    ]
    for text in lines:
        out.print(Text(text), style="dim", soft_wrap=True)


def _mended(found: Audit, path: Path) -> str:
    """Return what came of mending."""
    if found.mended is None:
        why = {"passes": "the candidate passes", "fails": "no layer is blamed", "undecided": "it is not judged"}
        return f"nothing was mended, since {why[found.outcome]}"
    if found.mended.model is None:
        return found.mended.said
    said = found.mended.said
    return f"{said}. It passes: {path}. To onnxruntime.quantization: nodes_to_exclude={list(found.mended.exclude)}"


def _row(line: Line) -> list[Any]:
    from rich.text import Text

    verdict, beyond = line.verdict, line.beyond
    style = "" if verdict else "dim"
    told = [
        f"{line.measure.name} {'↑' if line.measure.better == 'higher' else '↓'}",
        *("-" if v is None else f"{v.mean:.3f}" for v in (line.value, line.floor)),
        "-" if beyond is None else f"{beyond.mean:+.3f} [{beyond.low:+.3f}, {beyond.high:+.3f}]",
        "" if line.limit is None else f"{line.limit:.3g}",
    ]
    outcome = Text(verdict.outcome, style=COLOURS[verdict.outcome]) if verdict else Text("")
    return [*(Text(t, style=style) for t in told), outcome]
