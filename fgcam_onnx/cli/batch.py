"""``fgcam batch``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ..defaults import METHOD
from ..preparing import OVERRIDES, labels_file_of, prepare
from .grouping import Command
from .meaning import MEANING, noted, stated
from .options import DRAWN, HIRED, INT8, PICTURES, RULES, STYLE, hands
from .saying import say
from .targets import HELP, read_targets
from .values import Size, settings_by_method

if TYPE_CHECKING:
    from ..batch import Summary
    from ..stream import Source
    from .progress import Counter

PASSED_ON = (
    "grid aug_smooth int8 device base base_layer denoise eigen_smooth products residual saturation start".split()
)
"""Options that the explainer knows by the same name."""


class Count(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A whole number above 0, or ``auto``."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Return the number, None for auto."""
        if value in ("auto", None):
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither auto nor a whole number above 0", param, ctx)
        return int(value)


@click.command(name="batch", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", nargs=-1, required=True)
@click.option("-o", "--out", "sink", required=True, metavar="SINK", help="Folder or URL of the Parquet data set.")
@click.option("--method", default=METHOD, metavar="NAME", help="How to explain; `fgcam methods` lists them.")
@click.option("--base", metavar="NAME", help="The CAM that is refined.  [default: gradcam; auto: as suits the net]")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting of the method's own; repeatable.")
@click.option("--aug-smooth", is_flag=True, help="Average over the picture and its mirror image: six runs.")
@click.option("--denoise", is_flag=True, help="Keep the leading singular directions of the base's components.")
@click.option("--eigen-smooth", is_flag=True, help="A CAM's first principal component in place of its channel sum.")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME|input|all",
    help="Where maps are wanted; repeatable: a row for each.  [default: where the method has its map]",
)  # fmt: skip
@click.option("--base-layer", metavar="NAME", help="Where the base is computed.  [default: the deepest]")
@click.option("--grid", type=Size(), help="A transformer's grid of tokens.  [default: as the graph shows it]")
@click.option("--target", metavar="TARGET", help=HELP)
@MEANING
@RULES
@PICTURES
@INT8
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option(
    "--column", metavar="NAME", help="Of Parquet: where the pictures are.  [default: the only one that can be]"
)
@click.option("--id", "id_column", metavar="NAME", help="Of Parquet: what pictures are called.  [default: file#row]")
@click.option(
    "--map", "packing", type=click.Choice(["float16", "float32", "uint8", "none"]), default="float16",
    help="How maps are kept.",
)  # fmt: skip
@click.option("--overlays", is_flag=True, help="Also write pictures with their maps over them, to SINK/_overlays.")
@STYLE
@hands("Batches at once, by threads or Ray's workers.  [default: cores]")
@click.option("--batch-size", type=Count(), default="auto", help="Pictures explained at once; auto measures it.")
@click.option(
    "--shard", type=click.IntRange(1), default=256, help="Pictures in a file: at most so many are done again."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pictures.")
@click.option("--resume", is_flag=True, help="Go on with what is in SINK.")
@click.option("--max-errors", type=click.IntRange(0), help="Stop when more pictures than that have failed.")
@click.pass_context
def command(ctx: click.Context, /, model: Path, source: tuple[str, ...], **options: Any) -> None:
    """Explain the pictures of SOURCE by MODEL into a Parquet data set, a row for each picture and target.

    SOURCE: folders (with those below), patterns, lists of names (.txt), WebDataset tars, Parquet with picture bytes,
    or URLs of them (s3://, gs://, https://). What was killed goes on with --resume; each picture stands there once.
    Ctrl-C finishes the shards at hand, a second one leaves at once. The exit code is 1 when a picture failed.

    \b
    fgcam batch model.onnx photos/ -o maps
    fgcam batch model.onnx photos/ -o maps --resume
    fgcam batch model.onnx "s3://bucket/shards/*.tar" -o s3://bucket/maps --engine ray --address auto --workers 64
    """  # noqa: D301
    from ..arguments import image_input
    from ..batch import explain_source
    from ..explainer import Explainer
    from ..heads import Stated
    from ..imaging import Style
    from ..loading.loading import load
    from ..stream import Source
    from ..surgery.framing import pictured
    from .progress import Counter

    _check_drawn(ctx, overlays=options["overlays"])
    loaded = load(model)
    image = pictured(loaded, image_input(loaded.inputs, options["input_name"]))
    prepared = prepare(loaded, options["spec"], image=image, **{k: options[k] for k in OVERRIDES})
    meant: Stated = stated(options, labels_file_of(model, options["labels_file"]))
    given = {name: options[name] for name in PASSED_ON} | {"layers": options["layers"] or None, "head": meant}
    given |= {"method": options["method"], "input": options["input_name"], "output": options["output_name"]}
    method = options["method"]
    given |= settings_by_method(options["pairs"], methods=[method], base=options["base"])[method]
    explainer = Explainer(loaded, **given)
    noted(head := explainer.head)
    labels = head.labels or meant.labels
    targets, top = read_targets(
        options["target"], labels=labels, explainer=explainer, preprocess=prepared.preprocess, boxes=options["decode"]
    )
    counter = Counter()
    pictures = Source(source, options["column"], options["id_column"])
    _counted(counter, pictures, options["limit"])
    with counter.shown(), _interrupts() as stop:
        summary = explain_source(
            loaded, Source(source, options["column"], options["id_column"]), sink=options["sink"],
            preprocess=prepared.preprocess, targets=targets, top=top, labels=labels, packing=options["packing"],
            overlays=Style(**{n: options[n] for n in DRAWN}) if options["overlays"] else None, notes=prepared.notes,
            batch=options["batch_size"], progress=counter, stop=stop,
            **{n: options[n] for n in ("shard", "limit", "resume", "max_errors", *HIRED)},
            **given,
        )  # fmt: skip
    show(summary, sink=options["sink"], origin=prepared.told)
    if summary.stopped:
        say(f"stopped, since {summary.stopped}; to go on, give the same command with --resume", err=True)
    if summary.stopped == INTERRUPTED:
        sys.exit(130)
    if summary.failed or summary.stopped:
        sys.exit(1)


def _counted(counter: Counter, source: Source, limit: int | None) -> None:
    """Count the pictures of a source beside the work; those in tars are not, which would read every header twice."""
    from ..errors import FgcamError
    from ..stream import Member

    def count() -> None:
        found = 0
        with contextlib.suppress(FgcamError, OSError):
            for item in source:
                if isinstance(item, Member):
                    return
                found += 1
                if found == limit:
                    break
            counter.total = found

    threading.Thread(target=count, daemon=True).start()


INTERRUPTED = "it was interrupted"


def _check_drawn(ctx: click.Context, *, overlays: bool) -> None:
    """Refuse a way of drawing where nothing is drawn."""
    from ..errors import OptionError

    commanded = click.core.ParameterSource.COMMANDLINE
    given = [p.opts[0] for p in ctx.command.params if p.name in DRAWN and ctx.get_parameter_source(p.name) is commanded]
    if given and not overlays:
        raise OptionError(f"{', '.join(given)} changes nothing of maps that are not drawn: pass --overlays")


@contextmanager
def _interrupts() -> Iterator[Any]:
    """Yield what tells whether Ctrl-C was pressed; the second time the process ends."""
    pressed: list[int] = []

    def noticed(number: int, frame: FrameType | None) -> None:
        if pressed:
            os.write(2, b"\nleft at once; what is written stands, go on with --resume\n")
            os._exit(130)
        pressed.append(number)
        os.write(2, b"\nfinishing the shards at hand; Ctrl-C again leaves at once\n")

    before = signal.signal(signal.SIGINT, noticed)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def show(summary: Summary, *, sink: str, origin: str) -> None:
    """Print what a run came to."""
    from ..batch.summary import FAILED

    earlier = summary.pictures - summary.now
    say(
        f"{summary.now} pictures in {summary.seconds:.1f} s, {summary.rate:.1f} a second, {summary.batch} at once in "
        f"each of {summary.lanes} lanes" + (f"; {earlier} stood there before" if earlier else "")
    )
    for step, count in sorted(summary.errors.items()):
        say(f"  {count} {FAILED[step]}")
    if shares := summary.shares():
        say("where the time went: " + ", ".join(f"{n} {share:.0%}" for n, share in shares.items()))
        say(summary.advice())
    say(f"preprocessing: {origin}")
    say(f"{summary.rows} rows of {summary.pictures} pictures in {summary.shards} files: {sink}")
