"""The tables of docs/results.md, each a claim: made of what ``reproduce.py`` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from found import CONTROLS, OWN, Found, against_base, differences, mean, shown
from studies import CHANCE, DEPTH, GRID, INPUT, SAME, TOKENS

CELLED = ("rank_drop", "deletion@", "insertion@")
AS_USUAL = ("drop", "deletion", "insertion")
WHERE = ("energy", "energy_small")
TITLES = {
    "rank_drop": "ADr ↓", "rank_drop@": "ADr, cells ↓", "deletion@": "Deletion, cells ↓",
    "insertion@": "Insertion, cells ↑", "drop": "Average Drop ↓", "deletion": "Deletion ↓", "insertion": "Insertion ↑",
    "energy": "energy ↑", "energy_small": "small ↑",
}  # fmt: skip
STRIDES = (4, 8, 16, 32)
MIDDLE = {"photographs": 8, "shapes": 4}
"""The stride that stands for the middle of a net."""

Nets = Sequence[Found]


def on_object(nets: Nets) -> tuple[str, ...]:
    """Return what says whether maps are on the object; all objects of the generated pictures are small."""
    return WHERE[:1] if nets[0].kind == "shapes" else WHERE


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is words."""
    lines = [heads, ["---", *(["---:"] * (len(heads) - 1))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def words(metrics: Sequence[str], *, less: bool = False) -> list[str]:
    """Return what columns of metrics are called; of differences all are better above 0."""
    return [TITLES[m].rstrip(" ↑↓") if less else TITLES[m] for m in metrics]


def which(nets: Nets) -> str:
    """Return what several nets are called in a table."""
    return {"photographs": f"{len(nets)} nets", "shapes": "bundled"}[nets[0].kind]


def asked(nets: Nets) -> str:
    """The nets, and how many pictures each was asked about."""
    rows = []
    for n in nets:
        where = ("fgcam", OWN, "energy")
        faithful = ("fgcam", OWN, "rank_drop")
        layers = ", ".join(f"{s}" for s in n.places) if n.kind != "tokens" else "-"
        right, of = len(n.told["right"]), n.told["asked"]
        rows.append([n.name, f"{right} of {of}", f"{n.measured(*where)[0]}", f"{n.measured(*faithful)[0]}", layers])
    return table(["net", "rightly classified", "n, energy", "n, curves", "strides of layers"], rows)


def resolution(nets: Nets) -> str:
    """FG-CAM at every resolution, at equal resolution and as usual; and at the input less at the base, net by net."""
    rows = []
    for name, place in [("input", "input"), *((f"stride {s}", s) for s in (2, *STRIDES))]:
        having = [n for n in nets if n.label("fgcam", place) in n.rows]
        if having:
            values = [shown(mean(n.values("fgcam", place, m) for n in having)) for m in (*CELLED, *AS_USUAL)]
            rows.append([f"`fgcam`, {name}", f"{len(having)}", *values])
    for control in CONTROLS:
        values = [shown(mean(n.values(control, "", m) for n in nets)) for m in (*CELLED, *AS_USUAL)]
        rows.append([control, f"{len(nets)}", *values])
    first = table([f"map, {which(nets)}", "nets", *words((*CELLED, *AS_USUAL))], rows)
    rows = []
    for n in [*nets, None] if len(nets) > 1 else nets:
        of = list(nets) if n is None else [n]
        values = [against_base(of, m) for m in (*CELLED, *AS_USUAL)]
        rows.append([f"{which(nets)}, pooled" if n is None else n.name, *(shown(v, signed=True) for v in values)])
    return f"{first}\n{table(['input less base', *words((*CELLED, *AS_USUAL), less=True)], rows)}"


def middle(nets: Nets) -> str:
    """Every method at a layer in the middle, beside controls, and FG-CAM less each."""
    place = MIDDLE[nets[0].kind]
    metrics = (*on_object(nets), *CELLED)
    rows = [
        [f"`{v.name}`", *(shown(mean(n.values(v.name, place, m) for n in nets)) for m in metrics)]
        for v in (*DEPTH, *CHANCE)
    ]
    rows += [[c, *(shown(mean(n.values(c, "", m) for n in nets)) for m in metrics)] for c in CONTROLS]
    first = table([f"stride {place}, {which(nets)}", *words(metrics)], rows)
    return f"{first}\n{_by_net(nets, 'fgcam', ('gradcam', 'layercam', 'relevancecam'), place, metrics)}"


def _by_net(nets: Nets, own: str, others: Sequence[str], place: int | str, metrics: Sequence[str]) -> str:
    """Return paired differences, net by net and pooled."""
    rows = []
    for other in others:
        for n in [*nets, None] if len(nets) > 1 else nets:
            of = list(nets) if n is None else [n]
            values = [differences(of, (own, place), (other, place), m) for m in metrics]
            rows.append([f"`{other}`", "pooled" if n is None else n.name, *(shown(v, signed=True) for v in values)])
    return table([f"`{own}` less", "net", *words(metrics, less=True)], rows)


def depth(nets: Nets) -> str:
    """Energy on the object, in small boxes, by method and stride."""
    metric = on_object(nets)[-1]
    strides = [s for s in (2, *STRIDES) if any(s in n.places for n in nets)]
    rows = []
    for v in (*DEPTH, *CHANCE):
        values = [mean(n.values(v.name, s, metric) for n in nets if s in n.places) for s in strides]
        rows.append([f"`{v.name}`", *map(shown, values)])
    rows += [[c, *[shown(mean(n.values(c, "", metric) for n in nets))] * len(strides)] for c in CONTROLS[:-1]]
    return table([f"{TITLES[metric]}, {which(nets)}", *(f"stride {s}" for s in strides)], rows)


def at_input(nets: Nets) -> str:
    """Every map at the input and CAMs at their base, beside controls; and FG-CAM less each."""
    metrics = (*on_object(nets), *CELLED)
    names = [v.name for v in (*INPUT, SAME) if v.name not in ("fgcam, denoised", "fgcam, cells", "fgcam, bias")]
    rows = [[f"`{v}`", *(shown(mean(n.values(v, OWN, m) for n in nets)) for m in metrics)] for v in names]
    rows += [[c, *(shown(mean(n.values(c, "", m) for n in nets)) for m in metrics)] for c in CONTROLS]
    first = table([f"map, {which(nets)}", *words(metrics)], rows)
    others = [n for n in names if n != "fgcam"]
    rows = [
        [f"`{v}`", *(shown(differences(nets, ("fgcam", OWN), (v, OWN), m), signed=True) for m in metrics)]
        for v in others
    ]
    return f"{first}\n{table(['`fgcam` less', *words(metrics, less=True)], rows)}"


def denoising(nets: Nets) -> str:
    """Denoised FG-CAM less plain, at every resolution."""
    metrics = (*on_object(nets), *CELLED)
    rows = []
    for name, place in [("input", OWN), *((f"stride {s}", s) for s in (2, *STRIDES))]:
        having = [n for n in nets if n.label("fgcam, denoised", place) in n.rows]
        if having:
            values = [differences(having, ("fgcam, denoised", place), ("fgcam", place), m) for m in metrics]
            rows.append([f"{name}, {which(nets)}", *(shown(v, signed=True) for v in values)])
    place = MIDDLE[nets[0].kind]
    for n in nets:
        values = [differences([n], ("fgcam, denoised", place), ("fgcam", place), m) for m in metrics]
        rows.append([f"stride {place}, {n.name}", *(shown(v, signed=True) for v in values)])
    return table(["denoised less plain", *words(metrics, less=True)], rows)


def relevance(nets: Nets) -> str:
    """Relevance-CAM less Grad-CAM and chance by net and stride, and how many of its maps say nothing."""
    rows, others = [], ("random pixels", "gradcam", "layercam", "fgcam")
    for n in nets:
        for s in n.places:
            of, said = n.measured("relevancecam", s, "energy")
            values = [differences([n], ("relevancecam", s), (o, s), "energy") for o in others]
            own = mean([n.values("relevancecam", s, "energy")])
            nothing = f"{100 * (of - said) / of:.0f} %" if of else ""
            rows.append([f"{n.name}, stride {s}", shown(own), *(shown(v, signed=True) for v in values), nothing])
    heads = ["energy of `relevancecam`", "mean", "less chance", "less `gradcam`", "less `layercam`", "less `fgcam`"]
    return table([*heads, "nothing positive"], rows)


def mended(nets: Nets) -> str:
    """FG-CAM with stride cells, with biases, and ``auto``, less as published; and the grid."""
    metrics = (*on_object(nets), *CELLED, "rank_drop@")
    names = ("fgcam", "fgcam, cells", "fgcam, bias", "auto, unguided")
    rows = [[f"`{v}`", *(shown(mean(n.values(v, OWN, m) for n in nets)) for m in metrics)] for v in names]
    first = table([f"map, {which(nets)}", *words(metrics)], rows)
    rows = []
    for v in names[1:]:
        for n in [*nets, None] if len(nets) > 1 else nets:
            of = list(nets) if n is None else [n]
            values = [differences(of, (v, OWN), ("fgcam", OWN), m) for m in metrics]
            rows.append([f"`{v}`", "pooled" if n is None else n.name, *(shown(x, signed=True) for x in values)])
    return f"{first}\n{table(['less `fgcam`', 'net', *words(metrics, less=True)], rows)}"


def grids(nets: Nets) -> str:
    """Largest over smallest mean by position, and by chance."""
    rows = []
    for n in (n for n in nets if n.told["grid"]):
        values = [n.told["grid"][v.name] for v in GRID]
        cells = ["; ".join(f"{own:.2f} ({by_chance:.2f})" for own, by_chance in v.values()) for v in values]
        rows.append([n.name, *cells])
    return table(["position modulo 4; 32 (by chance)", *(f"`{v.name}`" for v in GRID)], rows)


def tokens(nets: Nets) -> str:
    """The transformer's maps beside controls, and each less Grad-CAM."""
    metrics = (*on_object(nets), *CELLED)
    names = [v.name for v in TOKENS]
    rows = [[f"`{v}`", *(shown(mean(n.values(v, OWN, m) for n in nets)) for m in metrics)] for v in names]
    rows += [[c, *(shown(mean(n.values(c, "", m) for n in nets)) for m in metrics)] for c in CONTROLS]
    first = table([f"map, {nets[0].name}", *words(metrics)], rows)
    pairs = [("fgcam, base layercam", "fgcam"), ("layercam", "gradcam"), *(("auto", v) for v in names if v != "auto")]
    rows = []
    for own, other in pairs:
        values = [differences(nets, (own, OWN), (other, OWN), m) for m in metrics]
        rows.append([f"`{own}` less `{other}`", *(shown(v, signed=True) for v in values)])
    return f"{first}\n{table(['difference', *words(metrics, less=True)], rows)}"


KINDS: dict[str, tuple[tuple[str, ...], Callable[[Nets], str]]] = {
    "nets": (("photographs", "tokens", "shapes"), asked),
    "resolution": (("photographs",), resolution),
    "resolution, bundled": (("shapes",), resolution),
    "middle": (("photographs",), middle),
    "middle, bundled": (("shapes",), middle),
    "depth": (("photographs",), depth),
    "depth, bundled": (("shapes",), depth),
    "input": (("photographs",), at_input),
    "input, bundled": (("shapes",), at_input),
    "denoising": (("photographs",), denoising),
    "denoising, bundled": (("shapes",), denoising),
    "relevancecam": (("photographs",), relevance),
    "relevancecam, bundled": (("shapes",), relevance),
    "mended": (("photographs",), mended),
    "mended, bundled": (("shapes",), mended),
    "grid": (("photographs",), grids),
    "tokens": (("tokens",), tokens),
}
"""What stands between the page's markers of that name: which nets, and what makes it."""


def tables(found: Nets) -> dict[str, str]:
    """Return every table whose nets were measured, by its name on the page."""
    known = {n: [f for f in found if f.kind in kinds and f.told["studies"]] for n, (kinds, _) in KINDS.items()}
    return {name: made(known[name]) for name, (_, made) in KINDS.items() if known[name]}


def written(page: str, made: Mapping[str, str]) -> str:
    """Return the page with tables put between the markers of their names."""
    for name, text in made.items():
        opens, closes = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, rest = page.split(opens)
        page = f"{before}{opens}\n{text}\n{closes}{rest.split(closes)[1]}"
    return page
