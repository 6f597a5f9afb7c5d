"""The figures of docs/results.md: a metric over depth, and differences as dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from claims import MIDDLE, STRIDES
from found import OWN, Found, differences
from studies import DEPTH, INPUT

from fgcam_onnx.evaluation.statistics import Interval
from fgcam_onnx.report import Point, dots, lines

Nets = Sequence[Found]
Drawing = str

KINDS = ("energy, small", "Insertion, cells", "ADr")
LIGHT = "#1f2328 #656d76 #d8dee4 #fff #0969da #d1570b #1a7f37 #8250df #bf3989 #1b7c83 #7d4e00 #57606a".split()
DARK = "#e6edf3 #9198a1 #30363d #0d1117 #4493f8 #f0883e #3fb950 #ab7df8 #db61a2 #39c5cf #d4a72c #9198a1".split()
NAMES = ("ink", "soft", "line", "paper", *(f"s{n}" for n in range(8)))
STYLE = """svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}
text{{font:11.5px system-ui,sans-serif;fill:var(--ink)}}.paper{{fill:var(--paper)}}
.grid line{{stroke:var(--line)}}.grid text,.control text{{fill:var(--soft)}}g line{{stroke:currentColor;stroke-width:2}}
circle{{fill:currentColor}}polyline{{fill:none;stroke:currentColor;stroke-width:2}}polygon{{fill:currentColor;opacity:.13}}
.control{{color:var(--soft)}}{series}"""


def alone(svg: str) -> Drawing:
    """Return a plot of a page as a file of its own, with a ground, light or dark as its reader has it."""
    light, dark = (";".join(f"--{n}:{c}" for n, c in zip(NAMES, of, strict=True)) for of in (LIGHT, DARK))
    series = "".join(f".s{n}{{color:var(--s{n})}}" for n in range(8))
    style = STYLE.format(light=light, dark=dark, series=series)
    ground = '<rect class="paper" width="100%" height="100%"/>'
    opened, body = svg.split(">", 1)
    return f'{opened} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{ground}{body}\n'


def point(found: Interval) -> Point:
    return Point(found.mean, found.low, found.high)


def over_depth(nets: Nets, metric: str, methods: Sequence[str], *, beside: str, title: str) -> Drawing:
    """Return how much better each method is than a control, over strides that most nets have."""
    strides = [s for s in (2, *STRIDES) if sum(s in n.places for n in nets) > len(nets) / 2]
    series: dict[str, dict[int, Point]] = {}
    for method in methods:
        found = {
            i: differences([n for n in nets if s in n.places], (method, s), (beside, s), metric)
            for i, s in enumerate(strides, 1)
        }
        if method == "fgcam":
            found[0] = differences(nets, (method, "input"), (beside, "input"), metric)
        series[method] = {i: point(v) for i, v in found.items() if v is not None}
    steps = ["input", *(f"stride {s}" for s in strides)]
    return alone(str(lines({n: p for n, p in series.items() if p}, steps=steps, title=title)))


def forest(found: Mapping[str, Interval | None], *, title: str) -> Drawing:
    """Return differences as dots, those whose interval leaves 0 out in colour."""
    known = {name: value for name, value in found.items() if value is not None}
    kinds = {n: ("s2" if v.mean > 0 else "s1") if v.excludes_zero else "control" for n, v in known.items()}
    return alone(str(dots({n: point(v) for n, v in known.items()}, kinds=kinds, title=title)))


def drawings(found: Nets) -> dict[str, Drawing]:
    """Return the figures by name, those whose nets were measured."""
    nets = [n for n in found if n.kind == "photographs" and n.told["studies"]]
    if not nets:
        return {}
    middle = MIDDLE["photographs"]
    others = [v.name for v in INPUT if v.name not in ("fgcam", "fgcam, denoised", "fgcam, cells", "fgcam, bias")]
    return {
        "resolution": over_depth(
            nets, "insertion@", ["fgcam", "layercam", "gradcam"], beside="random cells",
            title="Insertion in cells over depth, above that of random cells, convolutional nets pooled",
        ),
        "depth": over_depth(
            nets, "energy_small", [v.name for v in DEPTH], beside="random pixels",
            title="Energy in small boxes over depth, above chance, convolutional nets pooled",
        ),
        "input": forest(
            {n: differences(nets, ("fgcam", OWN), (n, OWN), "energy_small") for n in others},
            title="Energy in small boxes: FG-CAM at the input less each, convolutional nets pooled",
        ),
        "denoising": forest(
            {
                f"{n.name}, {m}": differences([n], ("fgcam, denoised", middle), ("fgcam", middle), key)
                for key, m in zip(("energy_small", "insertion@"), KINDS, strict=False)
                for n in nets
            },
            title="Denoised less plain FG-CAM at stride 8",
        ),
        "mended": forest(
            {
                f"{n.name}, {title}": differences([n], ("auto, unguided", OWN), ("fgcam", OWN), metric)
                for metric, title in zip(("energy_small", "insertion@", "rank_drop"), KINDS, strict=True)
                for n in nets
            },
            title="auto, unguided, less FG-CAM as published, at the input; right of 0 is better",
        ),
    }  # fmt: skip


def draw(found: Nets, folder: Path) -> list[Path]:
    """Write the figures as ``results-NAME.svg``."""
    paths = []
    for name, drawing in drawings(found).items():
        paths.append(folder / f"results-{name}.svg")
        paths[-1].write_text(drawing)
    return paths
