"""Draw seeded pictures of one textured object of eight shapes on a cluttered ground, with its mask.

Needs numpy and pillow only::

    python tools/training/shapes.py exported_models/pictures --seed 12
"""

from __future__ import annotations

import argparse
import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 96
CLASSES = ("circle", "triangle", "square", "star", "cross", "ring", "crescent", "heart")
TEXTURES = ("plain", "stripes", "checker", "dots", "noise")
SUPERSAMPLING = 4

Array = np.ndarray
Rng = np.random.Generator

YY, XX = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5


def arc(start: float, stop: float, radius: float = 1.0, points: int = 48) -> Array:
    """Return (points, 2) xy positions along a circle about the origin, angles in radians."""
    angles = np.linspace(start, stop, points)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def circle(rng: Rng) -> Array:
    """Return the (n, 2) outline of the unit disc."""
    return arc(0, 2 * np.pi)


def triangle(rng: Rng) -> Array:
    """Return the (n, 2) outline of a triangle inscribed in the unit circle."""
    return arc(0, 4 * np.pi / 3, points=3)


def square(rng: Rng) -> Array:
    """Return the (n, 2) outline of a square inscribed in the unit circle."""
    return arc(0, 3 * np.pi / 2, points=4)


def star(rng: Rng) -> Array:
    """Return the (n, 2) outline of a five-pointed star of random sharpness."""
    points = arc(0, 2 * np.pi * 9 / 10, points=10)
    points[1::2] *= rng.uniform(0.38, 0.5)
    return points


def cross(rng: Rng) -> Array:
    """Return the (n, 2) outline of an upright cross with arms of random width."""
    a = rng.uniform(0.24, 0.36)
    quarter = np.array([(1, -a), (1, a), (a, a)])
    turn = np.array([(0, 1), (-1, 0)])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def ring(rng: Rng) -> Array:
    """Return the (n, 2) outline of an annulus, both its edges joined by a seam of no width."""
    return np.concatenate([arc(0, 2 * np.pi), arc(2 * np.pi, 0, rng.uniform(0.48, 0.66))])


def crescent(rng: Rng) -> Array:
    """Return the (n, 2) outline of the unit disc with another disc bitten out of it."""
    tip = rng.uniform(0.75, 0.95)
    centre = 0.42
    radius = np.hypot(np.cos(tip) - centre, np.sin(tip))
    bite = np.arctan2(np.sin(tip), np.cos(tip) - centre)
    inner = arc(2 * np.pi - bite, bite, radius)
    inner[:, 0] += centre
    return np.concatenate([arc(tip, 2 * np.pi - tip), inner])


def heart(rng: Rng) -> Array:
    """Return the (n, 2) outline of a heart."""
    t = np.linspace(0, 2 * np.pi, 64)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([16 * np.sin(t) ** 3, y - 2.5], axis=1) / 16


OUTLINES: dict[str, Callable[[Rng], Array]] = {
    outline.__name__: outline for outline in (circle, triangle, square, star, cross, ring, crescent, heart)
}


@dataclass(frozen=True)
class Placement:
    """Say where an object goes: its class, centre (x, y) in pixels and bounding radius in pixels."""

    name: str
    centre: tuple[float, float]
    radius: float


def colour(hue: float, saturation: float, value: float) -> Array:
    """Return a (3,) RGB colour in 0..255 from HSV in 0..1; the hue wraps."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)


def smooth_noise(rng: Rng, cells: int) -> Array:
    """Return a (SIDE, SIDE) field in 0..1 of random blobs, `cells` across."""
    grid = Image.fromarray(rng.random((cells, cells), np.float32))
    return np.clip(np.asarray(grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), 0, 1)


def texture(rng: Rng, kind: str, first: Array, second: Array) -> Array:
    """Return a (SIDE, SIDE, 3) texture mixing two (3,) colours, one of `TEXTURES`."""
    angle, wave, shift = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(7, 14), rng.uniform(0, 6, 2)
    u = wave * (np.cos(angle) * XX + np.sin(angle) * YY) + shift[0]
    v = wave * (np.cos(angle) * YY - np.sin(angle) * XX) + shift[1]
    match kind:
        case "stripes":
            weight = 0.5 + 1.5 * np.sin(u)
        case "checker":
            weight = 0.5 + 3 * np.sin(u) * np.sin(v)
        case "dots":
            weight = 2 * (np.sin(u) + np.sin(v)) - 1
        case "noise":
            weight = 2 * smooth_noise(rng, 26) - 0.5
        case _:
            weight = np.zeros_like(XX)
    weight = np.clip(weight, 0, 1)[..., None].astype(np.float32)
    return first + (second - first) * weight


def coverage(points: Array, centre: Sequence[float], radius: float, rng: Rng) -> Array:
    """Return the (SIDE, SIDE) coverage in 0..1 of a unit outline turned at random, stretched and placed."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    stretch = (1, rng.uniform(0.86, 1))
    placed = (points * stretch @ turn * radius + centre) * SUPERSAMPLING
    canvas = Image.new("L", (SIDE * SUPERSAMPLING,) * 2)
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in placed.tolist()], fill=255)
    return np.asarray(canvas.reduce(SUPERSAMPLING), np.float32) / 255


def strewn(picture: Array, hue: float, rng: Rng) -> Array:
    """Return the (SIDE, SIDE, 3) picture with strokes, arcs and shards that belong to no class on it."""
    canvas = Image.fromarray(picture.astype(np.uint8)).resize((SIDE * 2,) * 2)
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(9, 20)):
        spot = rng.uniform(0, 2 * SIDE, 2)
        reach, turn, width = rng.uniform(6, 20), rng.uniform(0, 360), int(rng.integers(2, 6))
        ink = tuple(colour(hue + rng.normal(0, 0.2), rng.uniform(0.2, 0.8), rng.uniform(0.2, 1)).astype(int))
        match rng.integers(4):
            case 0:
                ends = spot + arc(np.radians(turn), np.radians(turn) + np.pi, 1.4 * reach, 2)
                draw.line(ends.ravel().tolist(), fill=ink, width=width)
            case 1:
                box = (*(spot - reach), *(spot + reach))
                draw.arc(box, turn, turn + 120, fill=ink, width=width)
            case 2:
                bends = np.cumsum(rng.uniform(-reach, reach, (4, 2)), axis=0) + spot
                draw.line(bends.ravel().tolist(), fill=ink, width=width, joint="curve")
            case _:
                shard = arc(0, 2 * np.pi * 6 / 7, reach, 7) * rng.uniform(0.25, 1, (7, 1)) + spot
                draw.polygon([(a, b) for a, b in shard.tolist()], fill=ink)
    return np.asarray(canvas.reduce(2), np.float32)


def ground(rng: Rng, hue: float) -> Array:
    """Return a (SIDE, SIDE, 3) cluttered background in 0..255 about one hue."""
    tones = [colour(hue + rng.normal(0, 0.07), rng.uniform(0.1, 0.55), rng.uniform(0.25, 0.9)) for _ in range(4)]
    angle = rng.uniform(0, 2 * np.pi)
    slope = 0.5 + 0.7 * (np.cos(angle) * (XX / SIDE - 0.5) + np.sin(angle) * (YY / SIDE - 0.5))
    picture = tones[0] + (tones[1] - tones[0]) * np.clip(slope, 0, 1)[..., None]
    picture += (tones[2] - picture) * 0.8 * smooth_noise(rng, 5)[..., None] ** 2
    weave = texture(rng, str(rng.choice(TEXTURES)), tones[0], tones[3])
    picture += (weave - picture) * 0.6 * smooth_noise(rng, 4)[..., None]
    return strewn(np.clip(picture, 0, 255), hue, rng)


def scene(rng: Rng, placements: Sequence[Placement]) -> tuple[Array, list[Array]]:
    """Return a uint8 (SIDE, SIDE, 3) picture of the objects, and one boolean (SIDE, SIDE) mask for each."""
    hue = rng.random()
    picture, masks = ground(rng, hue), []
    for placement in placements:
        own = hue + rng.uniform(0.3, 0.7)
        first = colour(own, rng.uniform(0.6, 1), rng.uniform(0.65, 1))
        second = colour(own + rng.normal(0, 0.12), rng.uniform(0.1, 1), rng.uniform(0.2, 1))
        surface = texture(rng, str(rng.choice(TEXTURES)), first, second)
        surface = surface * (1.12 - 0.3 * smooth_noise(rng, 3)[..., None])
        alpha = coverage(OUTLINES[placement.name](rng), placement.centre, placement.radius, rng)
        picture += (surface - picture) * alpha[..., None]
        masks.append(alpha >= 0.5)
    picture += rng.normal(0, rng.uniform(2, 7), picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), masks


def generate(count: int, seed: int) -> tuple[Array, Array, Array]:
    """Return uint8 (N, 96, 96, 3) pictures, int64 (N,) labels cycling the classes, bool (N, 96, 96) masks.

    Picture `i` of a seed is the same whatever the count.
    """
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    masks = np.empty((count, SIDE, SIDE), bool)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    for index, label in enumerate(labels):
        rng = np.random.default_rng((seed, index))
        radius = SIDE * rng.uniform(0.15, 0.3)
        x, y = rng.uniform(radius + 1, SIDE - radius - 1, 2)
        images[index], (masks[index],) = scene(rng, [Placement(CLASSES[label], (x, y), radius)])
    return images, labels, masks


def generate_several(count: int, seed: int) -> tuple[Array, Array, Array]:
    """Return uint8 (N, 96, 96, 3) pictures of one to three objects that do not touch, their boxes and classes.

    Boxes are float32 (N, 3, 4), ``x0, y0, x1, y1`` in pixels; classes int64 (N, 3), -1 where there is no object.
    """
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    boxes, labels = np.zeros((count, 3, 4), np.float32), np.full((count, 3), -1, np.int64)
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        placements: list[Placement] = []
        for _ in range(rng.integers(1, 4)):
            radius = SIDE * rng.uniform(0.13, 0.24)
            x, y = rng.uniform(radius + 1, SIDE - radius - 1, 2)
            if all(np.hypot(x - p.centre[0], y - p.centre[1]) > radius + p.radius for p in placements):
                placements.append(Placement(str(rng.choice(CLASSES)), (x, y), radius))
        images[index], masks = scene(rng, placements)
        for n, (placement, mask) in enumerate(zip(placements, masks, strict=True)):
            rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            boxes[index, n] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            labels[index, n] = CLASSES.index(placement.name)
    return images, boxes, labels


def generate_pair(names: tuple[str, str], seed: int) -> tuple[Array, list[Array]]:
    """Return a uint8 (96, 96, 3) picture of two objects side by side and their bool (96, 96) masks."""
    rng = np.random.default_rng((seed, len(CLASSES)))
    radii, heights = SIDE * rng.uniform(0.19, 0.23, 2), SIDE * rng.uniform(0.3, 0.7, 2)
    places = zip(names, (0.26, 0.74), heights, radii, strict=True)
    return scene(rng, [Placement(name, (SIDE * x, y), radius) for name, x, y, radius in places])


def write_pictures(folder: Path, seed: int) -> None:
    """Write one PNG per class and `two.png` to a folder, and their 8-bit 0/255 masks to its `masks`."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)

    def save(mask: Array, name: str) -> None:
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png", optimize=True)

    for image, label, mask in zip(*generate(len(CLASSES), seed), strict=True):
        Image.fromarray(image).save(folder / f"{CLASSES[label]}.png", optimize=True)
        save(mask, CLASSES[label])
    pair = ("star", "ring")
    image, masks = generate_pair(pair, seed)
    Image.fromarray(image).save(folder / "two.png", optimize=True)
    for name, mask in zip(pair, masks, strict=True):
        save(mask, f"two.{name}")


def main() -> None:
    """Write the demo pictures of a seed."""
    parser = argparse.ArgumentParser(description="write one picture per class, a pair, and their masks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=12)
    arguments = parser.parse_args()
    write_pictures(arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
