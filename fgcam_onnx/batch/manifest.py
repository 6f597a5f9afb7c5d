"""Which run a data set is of, and which of its shards stand."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError, OutputError
from ..imaging import make_folder
from ..imaging.writing import check_writable
from ..stream import Readable, Shard, Store, cut, digest
from ..stream.deaths import mark
from ..stream.holding import held
from .job import OVERLAYS
from .line import Done, Progress, part
from .table import record_of

MANIFEST, LOCK = "_manifest.json", "_lock"


@dataclass(frozen=True)
class Kept:
    """A data set, new or gone on with.

    A shard stands when its file does: files appear whole, and each says in its own metadata which pictures it holds.

    Attributes
    ----------
    store : Store
    run : mapping
        Plain values that name everything rows depend on.
    names : frozenset of str
        The files that stood when it was opened.
    """

    store: Store
    run: Mapping[str, Any]
    names: frozenset[str] = frozenset()
    earlier: list[Done] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store, run: Mapping[str, Any], *, resume: bool) -> Kept:
        """Open the data set of ``run``; one in which nothing stands is begun anew.

        Raises
        ------
        OptionError
            There is one already and it is not to be gone on with, or it is of another run: says in what they differ.
        """
        told = json.loads(json.dumps(run))
        names = frozenset(store.names())
        parts = sum(n.startswith("part-") and n.endswith(".parquet") for n in names)
        first = recorded(store) if parts else None
        if parts and first is None:
            raise OptionError(f"{store.url}: holds {parts} Parquet files of something else; name another folder")
        if first is not None and not resume:
            raise OptionError(
                f"{store.url}: holds a run already; pass --resume to go on with it, or name another folder"
            )
        if first is not None and first != told:
            other = [n for n in {**first, **told} if first.get(n) != told.get(n)]
            differ = "; ".join(f"{n} {_short(first.get(n))} then, {_short(told.get(n))} now" for n in other)
            raise OptionError(f"{store.url}: cannot go on, the run differs: {differ}. Name another folder")
        kept = cls(store, told, names)
        kept.sweep()
        kept.note([], complete=False)
        return kept

    def open_shards(
        self, source: Iterable[Readable], size: int, *, limit: int | None, progress: Progress | None = None
    ) -> Iterator[Shard[Readable]]:
        """Yield the shards that do not stand yet; those that do are noted in ``earlier``.

        Raises
        ------
        OptionError
            A shard holds other pictures than the source has now.
        """
        for shard in cut(source, size, limit=limit):
            if part(shard.number) not in self.names:
                yield shard
                continue
            said = record_of(self.store.opened(part(shard.number)))
            if said is None:
                raise OutputError(f"{self.store.url}/{part(shard.number)}: not a file of this run; delete it")
            keys = [item.key for item in shard.items]
            longer = said["items"] > len(keys) and limit is not None
            if said["items"] <= len(keys) and said["keys"] != digest(keys[: said["items"]]):
                raise OptionError(
                    f"{part(shard.number)} holds other pictures than the source has now, {keys[0]} to {keys[-1]}: "
                    "files were added or removed. Name another folder for the new source"
                )
            if said["items"] > len(keys) and not longer:
                raise OptionError(
                    f"{part(shard.number)} holds {said['items']} pictures, the source has {len(keys)} left"
                )
            if said["items"] < len(keys):
                yield shard
                continue
            if mark(shard.number) in self.names:
                self.store.remove(mark(shard.number))
            self.earlier.append(Done(**said))
            if progress is not None:
                progress.stood(said["items"])

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        self.store.swept()
        self.store.within(OVERLAYS).swept()

    def note(self, shards: Iterable[Done], *, complete: bool) -> None:
        """Write the manifest."""
        rows = [{"file": part(d.number), "pictures": d.items, "rows": d.rows, "errors": d.errors} for d in shards]
        told = {"run": self.run, "complete": complete, "shards": rows}
        self.store.write(MANIFEST, json.dumps(told, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def recorded(store: Store) -> dict[str, Any] | None:
    """Return the run that a data set is of.

    Raises
    ------
    OutputError
        Its manifest cannot be read.
    """
    content = store.read(MANIFEST)
    if content is None:
        return None
    try:
        return dict(json.loads(content)["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{store.url}/{MANIFEST}: not a manifest that can be read ({error})") from error


@contextlib.contextmanager
def alone(store: Store) -> Iterator[None]:
    """Refuse a second run that writes the same data set, where it is on a disk.

    Raises
    ------
    OptionError
        One is at work.
    OutputError
        The folder cannot be written.
    """
    if not store.local:
        yield
        return
    check_writable(os.path.join(store.folder, LOCK))
    make_folder(store.folder)
    descriptor = held(os.path.join(store.folder, LOCK))
    try:
        yield
    finally:
        os.close(descriptor)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
