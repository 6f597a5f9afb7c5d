"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..imaging.likeness import Names
from ..imaging.likeness import told as alike
from .saying import VERBOSE, console, is_said

Justify = Literal["left", "right"]


PAGE = 1000
"""Pictures in one table; what a run of more prints does not grow in memory."""


CONSERVED = "conserved: sum of the map over sum of what it was refined from, or started from; 1: nothing was lost"
"""What the column says, which stands where more is to be said."""


def explanations_table(pictures: Iterable[Mapping[str, Any]], *, preprocess: str, summary: Path) -> None:
    """Print what was explained of each picture, as ``explanations.json`` tells it, and where the files are.

    What is too wide for the terminal is printed in lines, so that names of files stay whole.
    """
    out, waiting, verbose = console(), iter(pictures), is_said(VERBOSE)
    columns: list[tuple[str, Justify]] = [
        ("picture", "left"), ("method", "left"), ("class", "left"), ("probability", "right"),
        ("conserved", "right"), ("file", "left"),
    ]  # fmt: skip
    while page := list(islice(waiting, PAGE)):
        rows = [row for picture in page for row in _rows(picture, conserved=verbose)]
        if _width(columns, rows) <= out.width:
            out.print(table_of(columns, rows))
        else:
            for text in _lines(columns, rows):
                out.print(text, soft_wrap=True)
        for picture in page:
            for line in (line for what, found in _alike(picture).items() for line in alike(found, what=what)):
                if "hardly differ" in line:
                    out.print(Text(f"{Path(picture['image']).name}: {line}"), style="dim", soft_wrap=True)
    told = [f"preprocessing: {preprocess}", f"written to {summary.parent}/, summary in {summary.name}"]
    for line in [*([CONSERVED] if verbose else []), *told]:
        out.print(Text(line), style="dim", soft_wrap=True)


def _width(columns: Sequence[tuple[str, Justify]], rows: Sequence[Sequence[str | Text]]) -> int:
    """Return how wide a table is in which nothing is broken."""
    widths = [max(cell_len(str(row[i])) for row in rows) for i in range(len(columns))] if rows else []
    return sum(max(width, cell_len(title)) + 2 for width, (title, _) in zip(widths, columns, strict=True) if width)


def _lines(columns: Sequence[tuple[str, Justify]], rows: Sequence[Sequence[str | Text]]) -> Iterator[Text]:
    """Yield rows as lines: the picture, what was explained of it, and each file on a line of its own."""
    for name, method, label, sure, kept, file in rows:
        if str(name):
            yield Text(str(name), style="bold")
        if str(label):
            title = str(sure) if str(sure).startswith("score") else f"{columns[3][0]} {sure}"
            parts = [str(part) for part in (method, label) if str(part)]
            yield Text(f"  {', '.join([*parts, *([title] if str(sure) else [])])}")
        if str(file):
            yield Text(f"    {file}{f'  ({columns[4][0]} {kept})' if str(kept) else ''}")


def _rows(picture: Mapping[str, Any], *, conserved: bool) -> list[list[str | Text]]:
    name = Path(picture["image"]).name
    if "error" in picture:
        return [[name, "", Text("failed", style="red"), "", "", ""]]
    rows: list[list[str | Text]] = []
    several = len({e["method"] for e in picture["explanations"]}) > 1
    for e in picture["explanations"]:
        kept = [f"{v:.4f}" if v is not None else "-" for v in e["conservation"].values()] if conserved else []
        label = e["label"].split(",")[0]
        label = f"{e['target']} {label}" if e["target"] >= 0 and label != str(e["target"]) else label
        sure = f"{e['probability']:.3f}" if e["probability"] is not None else f"score {e['score']:.4g}"
        first = [name, e["method"] if several else "", label, sure]
        for i, file in enumerate(e["files"]):
            rows.append([*(first if not i else [""] * 4), kept[i] if i < len(kept) else "", Path(file).name])
        name = ""
    return rows


def _alike(picture: Mapping[str, Any]) -> dict[str, dict[Names, float]]:
    found: dict[str, dict[Names, float]] = {}
    for pair in picture.get("likeness", ()):
        found.setdefault(pair["of"], {})[pair["maps"][0], pair["maps"][1]] = pair["correlation"]
    return found


def inspection(report: dict[str, Any], *, shown: int | None) -> None:
    """Print what is in a model; ``shown`` layers at most."""
    out = console()
    out.print(Text(report["model"], style="bold"), soft_wrap=True)
    size = f"{report['nodes']} nodes, {_count(report['parameters'])} parameters"
    out.print(Text(f"{report['producer']}, opset {report['opset']}, {size}"), style="dim", soft_wrap=True)
    out.print()
    _section(out, "", [("", "left"), ("", "left"), ("", "left"), ("", "left")], _ends(report))
    layers = report["layers"][:shown]
    if layers:
        more = (
            f", {len(layers)} of {len(report['layers'])}; --all lists every one"
            if len(layers) < len(report["layers"])
            else ""
        )
        _section(
            out,
            f"Layers, best base layer first{more}",
            [
                ("", "right"),
                ("name", "left"),
                ("scope", "left"),
                ("op", "left"),
                ("channels", "right"),
                ("map", "left"),
                ("extra tokens", "right"),
                ("", "left"),
            ],
            [_layer(x) for x in layers],
        )
    for line in explained(report["explanation"]) if report["explanation"] else []:
        out.print(Text(line), soft_wrap=True)
    guess = f" (a guess is {report['guess']})" if report["guess"] else ""
    beside = report["preprocess"] or f"no preprocessing file beside the model; pass --preprocess to explain{guess}"
    taken = "arrays (.npy, .npz), sounds (.wav) and scans (.nii), as they are"
    told = f"input: {taken}" if report["takes"] == "arrays" else f"{report['takes'] or 'pictures'}: {beside}"
    out.print(Text(told), soft_wrap=True)
    if auto := report["auto"]:
        start = f"{auto['base']} at {auto['layer']}, {auto['why']}; refined to the input and guided by it"
        out.print(Text(f"auto: {start if auto['base'] else auto['why']}"))
    lines = [_support(walk, found, len(report["layers"])) for walk, found in report["support"].items()]
    products = [report["int8"]["line"]] if report["int8"] else []
    for line in [*lines, *products, *(f"note: {n}" for n in report["notes"])]:
        out.print(Text(line), soft_wrap=True)


def exported_file(summary: dict[str, Any]) -> None:
    """Print what was written, and how it is run."""
    out = console()
    beside = f" and {summary['weights']}" if summary["weights"] else ""
    out.print(Text(f"{summary['file']}{beside}, {summary['bytes'] / 1e6:.2f} MB", style="bold"), soft_wrap=True)
    rows = [
        [kind[:-1], t["name"], t["dtype"], " x ".join(map(str, t["shape"])), t["meaning"] or "the model's own"]
        for kind in ("inputs", "outputs")
        for t in summary[kind]
    ]
    _section(out, "", [("", "left")] * 5, rows)
    names = [t["name"] for t in summary["inputs"]]
    feeds = ", ".join(f"{n!r}: {'x' if i == 0 else f'x{i}'}" for i, n in enumerate(names))
    for line in (
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({summary['file']!r})",
        f"found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {{{feeds}}})))",
    ):
        out.print(Text(line), soft_wrap=True)


def explained(told: dict[str, Any]) -> list[str]:
    """Return what an exported file says of its explanation, in lines."""
    options = ", ".join(f"{k} {v}" for k, v in told["options"].items() if v not in ("", {}, None))
    source = told.get("source", "a model in memory")
    return [
        f"explanation: {told['method']} at {', '.join(told['layers'])}, target {told['target']} ({options})",
        f"written by fgcam {told['version']} from {source}, sha256 {told.get('source_sha256', 'not known')}",
        f"maps: resize {told['resize']}, normalize {told['normalize']}"
        f"; preprocessing: {'inside' if told['preprocess'] else 'not in the file'}"
        + (f"; int8 {told['int8']}" if told.get("int8") else ""),
    ]


def _ends(report: dict[str, Any]) -> list[list[str]]:
    rows = [
        [kind[:-1], t["name"], t["dtype"], " x ".join(map(str, t["shape"])) or "one value"]
        for kind in ("inputs", "outputs")
        for t in report[kind]
    ]
    if score := report["score"]:
        before = f", before the final {score['skipped']}" if score["skipped"] else ""
        rows.append(["score", score["logits"], "", f"{score['classes'] or '?'} targets{before}"])
    if head := report["head"]:
        rows += [[title, text, "", ""] for title, text in meant(head)]
    return rows


def meant(head: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what an output means, how sure that is and what can be asked of it, in lines with titles."""
    classes = f", {head['classes']} class{'es' * (head['classes'] > 1)}" if head["classes"] else ""
    named = " with names" if head["labels"] else ""
    why = f" ({'a guess: ' if head['guessed'] else ''}{head['why']})" if head["why"] else ""
    found = [("meaning", f"{head['meaning']}{classes}{named}{why}")]
    if head["probability"]:
        what = {"done": "the output itself"}.get(head["probability"], f"a {head['probability']}")
        told = ", which the model leaves out" if head["assumed"] else ""
        found.append(("probability", f"{what}{told}"))
    if head["background"] is not None:
        stands = head["background"]
        which = "not to be read: --background first, last or none" if stands == "open" else f"class {stands}"
        found.append(("no object", which))
    return [*found, ("--target", head["choices"])]


def _layer(layer: dict[str, Any]) -> list[str]:
    node = layer["name"].removesuffix("_output_0")
    name = node if node == layer["node"] else layer["name"]
    size = " x ".join(map(str, layer["spatial"]))
    tokens = layer["tokens"]
    extra = str(tokens["before"] + tokens["after"]) if tokens else ""
    remarks = [f"call {layer['call'][0]} of {layer['call'][1]}"] if layer["call"] else []
    remarks += ["the answer itself"] if layer["answer"] else []
    remarks += [] if layer["every_path"] or layer["shared"] else ["on a branch"]
    if layer["reach"] == "none":
        remarks = ["no gradient: the score uses none of its positions"]
    elif layer["reach"] == "some" and tokens:
        remarks += ["the score uses a part of it"]
    return [
        str(layer["rank"]),
        name,
        layer["scope"],
        layer["op"],
        str(layer["channels"]),
        size,
        extra,
        ", ".join(remarks),
    ]


def _support(walk: str, found: dict[str, Any], layers: int) -> str:
    if not found["missing"] and not found["blocked"]:
        return f"{walk}: every operator has a rule, so every layer can be reached"
    if not found["missing"]:
        return (
            f"{walk}: every operator has a rule; nothing goes on to {found['blocked']} of {layers} layers, as to gates"
        )
    missing = ", ".join(f"{op} ({n})" for op, n in found["missing"].items())
    return f"{walk}: nothing passes {missing}, so {found['blocked']} of {layers} layers cannot be reached"


def _count(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _section(
    out: Console, title: str, columns: Sequence[tuple[str, Justify]], rows: Sequence[Sequence[str | Text]]
) -> None:
    if title:
        out.print(Text(title, style="bold"))
    out.print(table_of(columns, rows))
    out.print()


def table_of(columns: Sequence[tuple[str, Justify]], rows: Sequence[Sequence[str | Text]]) -> Table:
    """Return a table without the columns that are empty throughout."""
    used = [i for i in range(len(columns)) if any(str(r[i]) for r in rows)]
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim",
        show_header=any(title for title, _ in columns),
    )  # fmt: skip
    for title, justify in (columns[i] for i in used):
        table.add_column(title, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(v if isinstance(v, Text) else Text(v) for v in (row[i] for i in used)))
    return table
