"""A source in pieces, each of which is done whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Shard(Generic[T]):
    """Consecutive pictures of a source.

    Attributes
    ----------
    number : int
        Which of the source's shards, from 0.
    first : int
        Which picture of the source it begins with.
    items : tuple of Readable or Item
    """

    number: int
    first: int
    items: tuple[T, ...]

    def batches(self, size: int) -> list[tuple[T, ...]]:
        """Return its pictures, ``size`` at a time; always cut alike, so that maps are the same to the bit."""
        return [self.items[start : start + size] for start in range(0, len(self.items), size)]


def cut(source: Iterable[T], size: int, *, limit: int | None = None) -> Iterator[Shard[T]]:
    """Yield a source in shards of ``size`` pictures, its first ``limit`` pictures only."""
    items = iter(source) if limit is None else islice(source, limit)
    number = 0
    while taken := tuple(islice(items, size)):
        yield Shard(number, number * size, taken)
        number += 1


def digest(keys: Sequence[str]) -> str:
    """Return what tells lists of keys apart."""
    return hashlib.sha256("\0".join(keys).encode("utf-8", "surrogatepass")).hexdigest()[:16]
