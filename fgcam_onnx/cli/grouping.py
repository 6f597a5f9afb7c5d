"""Options in groups, said once, how much is said, and the completion of values: what all commands have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from .saying import QUIET, VERBOSE

GROUPS: Mapping[str, tuple[str, ...]] = {
    "How to explain": (
        "methods", "method", "base", "base_layer", "pairs", "composite", "denoise", "eigen_smooth", "aug_smooth",
        "residual", "products", "start", "saturation", "trace",
    ),
    "Where": ("layers", "layer", "fuse", "grid"),
    "What is explained": ("target", "seed", "decode", "head", "objectness", "class_count", "background", "labels_file"),
    "How pictures are prepared": (
        "spec", "size", "resize", "white", "layout", "channels", "scale", "mean", "std",
        "input_name", "output_name", "feeds",
    ),
    "How maps are drawn": (
        "overlay", "on", "colormap", "alpha", "signed", "percentile", "smooth", "gamma", "bar", "tile",
    ),
    "What it runs on": (
        "batch", "device", "threads", "int8", "optimization", "engine", "address", "workers", "gpus_per_worker",
    ),
    "What is written and said": ("out", "as_json", "record", "resume", "quiet", "verbose", "help"),
}  # fmt: skip
"""The options by what they are for; what a command has beside them stands first, as what is its own."""
FEWEST = 10
"""Options from which on they are shown in groups."""


def _noting(level: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    def note(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        ctx.meta[level] = value
        return value

    return note


class Command(click.Command):
    """A command with ``--quiet`` and ``--verbose``, whose help shows options by what they are for."""

    def __init__(self, name: str | None, *, params: list[click.Parameter] | None = None, **options: Any) -> None:
        for param in params or ():
            if isinstance(param, click.Option) and param.name in COMPLETERS:
                param._custom_shell_complete = COMPLETERS[param.name]
        flags: dict[str, Any] = {"is_flag": True, "expose_value": False, "is_eager": True}
        quiet = click.Option(
            ["-q", "--quiet"], callback=_noting(QUIET), **flags, help="Say what failed, and nothing else but --json."
        )
        verbose = click.Option(
            ["-v", "--verbose"], callback=_noting(VERBOSE), **flags, help="Say more, such as what a map conserves."
        )
        super().__init__(name, params=[*(params or ()), quiet, verbose], **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an option that is given twice, of which the parser keeps the last without a word."""
        if not ctx.resilient_parsing:
            _check_once(ctx, self.make_parser(ctx).parse_args(args=list(args))[2])
        return super().parse_args(ctx, args)

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return how help is asked for; click keeps the first answer, whichever context it is made in."""
        return ["-h", "--help"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, in groups where there are many."""
        places = {name: title for title, names in GROUPS.items() for name in names}
        records: dict[str, list[tuple[str, str]]] = {"Options": [], **{title: [] for title in GROUPS}}
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        for param in options:
            name = "help" if "--help" in param.opts else str(param.name)
            title = places.get(name, "Options") if len(options) >= FEWEST else "Options"
            record = param.get_help_record(ctx)
            if record is not None:
                records[title].append(record)
        for title, rows in records.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _check_once(ctx: click.Context, order: Sequence[click.Parameter]) -> None:
    for param, times in Counter(order).items():
        if isinstance(param, click.Option) and times > 1 and not (param.multiple or _is_switch(param)):
            name, told = param.get_help_record(ctx) or (param.opts[0], "")
            raise click.UsageError(f"{param.opts[-1]} is given {times} times, and is taken once.  {name}: {told}", ctx)


def _is_switch(param: click.Option) -> bool:
    """Tell whether an option can only be turned on: twice is no more than once."""
    return bool(param.is_flag and not param.secondary_opts)


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _from(known: Callable[[click.Context], Iterable[tuple[str, str]]]) -> Completer:
    """Return what completes by names, each with a line about it; nothing where they cannot be had."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = list(known(ctx))
        except Exception:  # completion never disturbs what is typed
            return []
        near = incomplete.casefold()
        return [CompletionItem(name, help=told) for name, told in found if name.casefold().startswith(near)]

    return complete


def _methods(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from ..methods import METHODS

    return ((name, method.summary) for name, method in METHODS.items())


def _bases(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from ..methods import BASES

    return ((name, method.summary) for name, method in BASES.items() if method.channels)


def _composites(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from ..lrp.table import COMPOSITES

    return ((name, "") for name in COMPOSITES)


def _model(ctx: click.Context) -> Path:
    # click leaves the arguments unread where an option still lacks its value
    return Path(ctx.params.get("model") or ctx.params.get("reference") or ctx.args[0])


def _layers(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from ..heads import meaning_of
    from ..layers.layers import ranked_layers
    from ..loading.loading import load

    model = load(_model(ctx))
    score, _ = meaning_of(model, None, source=model.inputs[0].name)
    yield from (("input", "the model's input"), ("all", "every layer that all of the score passes through"))
    for layer in ranked_layers(model, logits=score.logits):
        yield layer.scope or layer.name, f"{layer.op} {' x '.join(map(str, layer.spatial))}"


def _targets(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from ..heads import own_labels
    from ..imaging import read_labels
    from ..loading.loading import load
    from ..preparing import labels_file_of
    from ..targets.said import FORMS

    file = labels_file_of(_model(ctx), ctx.params.get("labels_file"))
    labels = read_labels(file) if file is not None else own_labels(load(_model(ctx)))
    yield from ((name.split(",")[0], f"class {i}") for i, name in enumerate(labels) if name)
    yield from ((f"{form}:", "") for form in sorted(FORMS))


def _presets(ctx: click.Context) -> Iterable[tuple[str, str]]:
    from ..imaging import PRESETS

    return ((name, preset.described()) for name, preset in PRESETS.items())


def _colormaps(ctx: click.Context) -> Iterable[tuple[str, str]]:
    import matplotlib

    return ((name, "") for name in matplotlib.colormaps)


COMPLETERS: Mapping[str, Completer] = {
    "base": _from(_bases),
    "base_layer": _from(_layers),
    "colormap": _from(_colormaps),
    "composite": _from(_composites),
    "layer": _from(_layers),
    "layers": _from(_layers),
    "method": _from(_methods),
    "methods": _from(_methods),
    "spec": _from(_presets),
    "target": _from(_targets),
}
"""What completes the values of options, by their names."""
