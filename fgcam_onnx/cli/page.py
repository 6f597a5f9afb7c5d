"""``fgcam page``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..defaults import METHOD
from .grouping import Command
from .meaning import MEANING, opened
from .options import PICTURES
from .saying import say
from .values import settings_by_method

if TYPE_CHECKING:
    from ..page import Page, Shown

PORT = 8000
"""Where a page is served where nothing else is said."""
FIRST = (METHOD, "gradcam")
"""What a page shows where no method is named, as far as the model has it."""


@click.command(name="page", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, metavar="[PICTURES]...")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option(
    "--method", "methods", multiple=True, metavar="NAME",
    help=f"Any method that is one graph; repeatable.  [default: {', '.join(FIRST)}]",
)  # fmt: skip
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME|input|all",
    help="Where maps are wanted; repeatable.  [default: where each method's map is]",
)  # fmt: skip
@click.option("--base", metavar="NAME", help="The CAM that is refined.  [default: gradcam; auto: as suits the net]")
@click.option("--base-layer", metavar="NAME", help="Where the base is computed.  [default: the deepest]")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting of a method's own.")
@click.option("--title", metavar="TEXT", help="Over the page.  [default: What is MODEL looking at?]")
@MEANING
@PICTURES
@click.option(
    "--runtime", type=click.Path(path_type=Path), metavar="FOLDER",
    help="ONNX Runtime's package for browsers, its folder dist.  [default: npm fetches it once]",
)  # fmt: skip
@click.option("--serve", is_flag=True, help="Serve the page on this machine until Ctrl+C.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"Where --serve listens; 0: any free one.  [default: {PORT}]"
)
def command(model: Path, images: tuple[str, ...], out: Path, **options: Any) -> None:
    """Write a page that explains pictures by MODEL in the browser's tab.

    The folder holds all it needs: put it on any web server, or look at it with --serve. Pictures that are dropped on
    the page stay on the machine of who drops them.

    \b
    fgcam page model.onnx photos/ --labels labels.txt --preprocess imagenet -o site --serve
    """  # noqa: D301
    from ..errors import OptionError
    from ..imaging import find_images
    from ..page import claimed, runtime_files, write_page

    if options["port"] is not None and not options["serve"]:
        raise OptionError("--port says where --serve listens: give both, or neither")
    pictures = find_images(images) if images else []
    runtime_files(options["runtime"])
    title = options["title"] or f"What is {model.stem} looking at?"
    new = not os.path.exists(out)
    try:
        claimed(out)
        shown = _shown(model, out, options)
        written = write_page(out, shown, pictures, title=title, runtime=options["runtime"])
    except BaseException:
        if new:
            shutil.rmtree(out, ignore_errors=True)
        raise
    for sentence in written.failed:
        say(sentence, err=True, title="error", colour="red")
    _told(written)
    if options["serve"]:
        _serve(out, PORT if options["port"] is None else options["port"])


def _shown(model: Path, out: Path, options: dict[str, Any]) -> list[Shown]:
    """Export the model by each method; of methods that nobody named, those that it has."""
    from ..errors import FgcamError, OutputError
    from ..page import explained

    given = opened(model, options)
    methods = options["methods"] or FIRST
    settings = settings_by_method(options["pairs"], methods=list(methods), base=options["base"])
    shown: list[Shown] = []
    for method in dict.fromkeys(methods):
        say(f"{method}: building", err=True)
        refines = {n: options[n] for n in ("base", "base_layer") if options[n] is not None}
        try:
            shown.append(
                explained(
                    given.model, out, method=method, preprocess=given.prepared.preprocess, notes=given.prepared.notes,
                    labels=given.head.labels or given.stated.labels, layers=options["layers"] or None,
                    size=options["size"],
                    input=options["input_name"], output=options["output_name"], head=given.stated,
                    **(refines if method == METHOD or options["methods"] else {}), **settings[method],
                )
            )  # fmt: skip
        except OutputError:
            raise
        except FgcamError as error:
            if options["methods"] or (method == FIRST[-1] and not shown):
                raise
            say(f"{method} is left out: {error}", err=True, title="note", colour="yellow")
    return shown


def _told(page: Page) -> None:
    say(f"page:     {page.folder}/index.html ({page.size / 2**20:.0f} MiB)")
    say(f"methods:  {', '.join(s.method for s in page.shown)}")
    say(f"pictures: {page.pictures}, and any that is dropped on it")


def _serve(folder: Path, port: int) -> None:
    from ..page import serving

    with serving(folder, port=port) as server:
        say(f"http://localhost:{server.server_address[1]}/  (Ctrl+C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
