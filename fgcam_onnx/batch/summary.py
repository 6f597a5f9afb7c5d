"""What a run came to: pictures, errors, where the time went, and what would speed it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .line import Done

FAILED = {
    "read": "could not be read",
    "decode": "are no pictures that can be decoded",
    "prepare": "do not fit the preprocessing",
    "explain": "could not be explained",
    "died": "were left out, the process died over them",
}
"""What became of pictures that failed, by what at."""

SLOW = 0.4
"""From this share of the time on a step is worth a word."""


@dataclass
class Summary:
    """What a run came to.

    Attributes
    ----------
    pictures, rows, shards : int
        In the data set, those of earlier runs included.
    now : int
        Pictures of this run.
    errors : dict of str to int
        Pictures that failed, by what at.
    seconds : float
        This run, from the first picture.
    spent : dict of str to float
        Seconds by what they were spent on, over all threads and workers.
    lanes : int
        Threads or workers.
    stopped : str
        Why it is not complete; empty where it is.
    batch : int
        Pictures explained at once.
    """

    pictures: int = 0
    rows: int = 0
    shards: int = 0
    now: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    lanes: int = 1
    stopped: str = ""
    batch: int = 0

    @property
    def failed(self) -> int:
        """How many pictures failed."""
        return sum(self.errors.values())

    @property
    def rate(self) -> float:
        """Pictures per second of this run."""
        return self.now / self.seconds if self.seconds else 0.0

    def add(self, done: Done, *, earlier: bool = False) -> None:
        """Count a shard."""
        self.pictures += done.items
        self.rows += done.rows
        self.shards += 1
        self.now += 0 if earlier else done.items
        _sum(self.errors, done.errors)
        if not earlier:
            _sum(self.spent, done.seconds)

    def shares(self) -> dict[str, float]:
        """Return the shares of the time by what it was spent on, the largest first."""
        whole = sum(self.spent.values())
        return {n: s / whole for n, s in sorted(self.spent.items(), key=lambda p: -p[1])} if whole else {}

    def advice(self) -> str:
        """Return what would speed it up, in a sentence."""
        shares = self.shares()
        if not shares or self.now == 0:
            return ""
        for step, say in {
            "read": "reading takes longest: a faster disk, pictures in tars or Parquet, or storage nearer by",
            "decode": "decoding takes longest: smaller pictures, such as JPEG files near the model's size",
            "prepare": "resizing takes longest: pictures near the model's size",
            "write": "writing takes longest: --map uint8 or none, a coarser --layer, or a faster disk",
            "draw": "drawing takes longest: leave --overlays out, pictures can be drawn from the maps later",
        }.items():
            if shares.get(step, 0) >= SLOW:
                return say
        return "the session takes longest: more cores or a GPU (--device cuda), --engine ray, or a cheaper --method"


def _sum(into: dict[str, int] | dict[str, float], found: Mapping[str, float]) -> None:
    for name, value in found.items():
        into[name] = into.get(name, 0) + value  # type: ignore[assignment]
