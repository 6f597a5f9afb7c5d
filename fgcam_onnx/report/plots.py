"""Plots as SVG, drawn with the page's own colours: classes ``s0`` to ``s7`` are series, ``control`` is grey."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

SERIES = 8
WIDTH = 560
TEXT = 6.3
"""Width of a character of a plot's labels, about."""


@dataclass(frozen=True)
class Point:
    """A mean with its interval."""

    mean: float
    low: float
    high: float


def dots(points: Mapping[str, Point], *, kinds: Mapping[str, str], title: str) -> Markup:
    """Return a dot and its interval for each name, one below the other.

    Parameters
    ----------
    points : mapping of str to Point
    kinds : mapping of str to str
        The class that each is drawn in.
    title : str
        For those who cannot see it.
    """
    low, high = _range(points.values())
    left = 14 + TEXT * max(map(len, points), default=0)
    right, line = WIDTH - 16, 18
    height = line * len(points) + 30

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    parts = [_grid(at(t), 4, height - 24, _tick(t)) for t in ticks(low, high)]
    for row, (name, point) in enumerate(points.items()):
        y, kind = 14 + line * row, escape(kinds[name])
        parts.append(
            f'<g class="{kind}"><title>{escape(name)}: {_said(point)}</title>'
            f'<text x="{left - 10:.1f}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
            f'<line x1="{at(point.low):.1f}" x2="{at(point.high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{at(point.mean):.1f}" cy="{y}" r="4"/></g>'
        )
    return _svg(parts, height=height, title=title)


def lines(
    series: Mapping[str, Mapping[int, Point]],
    *,
    steps: Sequence[str],
    title: str,
    marked: Mapping[str, float] | None = None,
) -> Markup:
    """Return a line for each series over steps that have names, with bands of their intervals.

    Parameters
    ----------
    series : mapping of str to mapping of int to Point
        By name; of each the points, by step.
    steps : sequence of str
        What stands below the axis.
    title : str
        For those who cannot see it.
    marked : mapping of str to float, optional
        Names of places on the axis that are pointed at, in steps.
    """
    low, high = _range(p for points in series.values() for p in points.values())
    left, right, top, bottom = 56.0, WIDTH - 24.0, 10.0, 210.0
    gap = (right - left) / max(len(steps) - 1, 1)
    room = max(4, int(gap * 1.9 / TEXT)) if len(steps) > 1 else 60

    def x(step: float) -> float:
        return left + gap * step if len(steps) > 1 else (left + right) / 2

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = [
        f'<g class="grid"><line x1="{left}" x2="{right}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{left - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{_tick(t)}</text></g>'
        for t in ticks(low, high)
    ]
    for step, name in enumerate(steps):
        anchor = "start" if step == 0 else "end" if step == len(steps) - 1 else "middle"
        shown = name if len(name) <= room else "…" + name[1 - room :]
        down = bottom + 18 + 14 * (step % 2)
        parts.append(
            f'<g class="grid"><title>{escape(name)}</title>'
            f'<text x="{x(step):.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(shown)}</text></g>'
        )
    parts += [
        f'<g class="control"><title>{escape(name)}</title>'
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top}" y2="{bottom}" stroke-dasharray="4 3"/></g>'
        for name, at in (marked or {}).items()
    ]
    for number, (name, points) in enumerate(series.items()):
        order = sorted(points)
        upper = [f"{x(s):.1f},{y(points[s].high):.1f}" for s in order]
        lower = [f"{x(s):.1f},{y(points[s].low):.1f}" for s in reversed(order)]
        path = " ".join(f"{x(s):.1f},{y(points[s].mean):.1f}" for s in order)
        marks = "".join(
            f'<circle cx="{x(s):.1f}" cy="{y(points[s].mean):.1f}" r="3.5">'
            f"<title>{escape(name)} at {escape(steps[s])}: {_said(points[s])}</title></circle>"
            for s in order
        )
        parts.append(
            f'<g class="s{number % SERIES}"><polygon points="{" ".join(upper + lower)}"/>'
            f'<polyline points="{path}"/>{marks}</g>'
        )
    across, down = left, bottom + 52
    for number, name in enumerate(series):
        if across > left and across + 24 + TEXT * len(name) > right:
            across, down = left, down + 18
        parts.append(
            f'<g class="s{number % SERIES}"><circle cx="{across:.1f}" cy="{down - 4:.1f}" r="4"/>'
            f'<text x="{across + 9:.1f}" y="{down:.1f}">{escape(name)}</text></g>'
        )
        across += 30 + TEXT * len(name)
    return _svg(parts, height=int(down + 12), title=title)


def ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers within a range."""
    size = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if (high - low) / (s * size) <= 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _range(points: Iterable[Point]) -> tuple[float, float]:
    known = list(points)
    low, high = min((p.low for p in known), default=0.0), max((p.high for p in known), default=1.0)
    room = 0.04 * (high - low) or 0.5
    return low - room, high + room


def _grid(x: float, top: float, bottom: float, text: str) -> str:
    return (
        f'<g class="grid"><line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text></g>'
    )


def _tick(value: float) -> str:
    return f"{value:.4g}"


def _said(point: Point) -> str:
    return f"{point.mean:.3f} [{point.low:.3f}, {point.high:.3f}]"


def _svg(parts: Sequence[str], *, height: int, title: str) -> Markup:
    import markupsafe

    body = "".join(parts)
    return markupsafe.Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{body}</svg>'
    )
