"""What processes died over: noted before it is tried, where the next process finds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

DEATHS = 2
"""How often a process may die over a batch before its pictures are done one by one; and over one before it is left."""

T = TypeVar("T")
R = TypeVar("R")


class Marks(Protocol):
    """Small files, or what is like them, that outlive a process."""

    def read(self, name: str, /) -> bytes | None:
        """Return what was written, None where there is nothing."""
        ...

    def write(self, name: str, content: bytes, /) -> None:
        """Keep it."""
        ...

    def remove(self, name: str, /) -> None:
        """Drop it, if it is there."""
        ...


def mark(number: int) -> str:
    """Return the name of what says that a shard is being done."""
    return f"_trying-{number:08d}.json"


def left_out(key: str) -> str:
    """Return what is said of a picture that nobody tries again."""
    return f"{key}: left out, the process died over it {DEATHS} times"


@dataclass(frozen=True)
class Trial:
    """A shard that is done with care, since a process died over it: what is tried is noted before.

    Attributes
    ----------
    marks : Marks
    number : int
        Of the shard.
    deaths : mapping of str to int
        How often a process died over a batch ("2": the third) or a picture ("2.0": its first).
    """

    marks: Marks
    number: int
    deaths: dict[str, int]

    @classmethod
    def of(cls, marks: Marks, number: int) -> Trial | None:
        """Return the trial of a shard, None where its mark is not there: nobody died over it."""
        if (content := marks.read(mark(number))) is None:
            return None
        told = json.loads(content or b"{}")
        deaths: dict[str, int] = dict(told.get("deaths", {}))
        if at := told.get("at"):
            deaths[at] = deaths.get(at, 0) + 1
        return cls(marks, number, deaths)

    def rows(
        self,
        n: int,
        items: Sequence[T],
        *,
        do: Callable[[Sequence[T], int], list[R]],
        left: Callable[[T], R],
    ) -> list[R]:
        """Return the rows of the shard's batch ``n``; where processes died over it, of each picture by itself.

        ``do`` makes rows of pictures and the place of their first in the batch, ``left`` the row of one that is left.
        """
        if not self._deadly(f"{n}"):
            self._note(f"{n}")
            return do(items, 0)
        rows: list[R] = []
        for k, item in enumerate(items):
            if self._deadly(f"{n}.{k}"):
                rows.append(left(item))
                continue
            self._note(f"{n}.{k}")
            rows += do([item], k)
        return rows

    def _deadly(self, name: str) -> bool:
        return self.deaths.get(name, 0) >= DEATHS

    def _note(self, name: str) -> None:
        self.marks.write(mark(self.number), json.dumps({"deaths": self.deaths, "at": name}).encode())
