"""What is done, on disk: a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import OptionError, OutputError
from ..imaging.writing import make_folder, swept
from .holding import held


@dataclass
class Journal:
    """A file whose first line says which run it is of, and each further line that one more batch is done.

    It is held until it is closed, so that no other run goes on with it.

    Attributes
    ----------
    path : Path
    descriptor : int
        Of the file, by which it is held.
    done : list of int
        The sink's position after each batch that is done, in their order.
    """

    path: Path
    descriptor: int
    done: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, run: Mapping[str, Any]) -> Journal:
        """Open the journal of ``run``, which is plain values that name everything its rows depend on.

        One in which nothing is done is begun anew. What a killed run left half written in the folder is removed.

        Raises
        ------
        OptionError
            There is a journal of another run: says in what they differ. Or that run is at work.
        OutputError
            It cannot be read or written.
        """
        make_folder(path.parent)
        try:
            there = os.path.exists(path)
            journal = cls(path, descriptor=held(path))
            if there:
                swept(path.parent)
            lines = path.read_bytes().split(b"\n")
            first, *rest = (json.loads(line) for line in lines[:-1]) if len(lines) > 1 else (None,)
        except (OSError, ValueError) as error:
            raise OutputError(f"{path}: not a journal that can be read ({error}); name another folder") from error
        told = json.loads(json.dumps(run))
        if first is None or (first != told and not rest):
            journal._append(told, fresh=True)
            return journal
        if first != told:
            names = [n for n in {**first, **told} if first.get(n) != told.get(n)]
            raise OptionError(
                f"{path.parent}: holds a run with other {', '.join(names)}; name another folder, or delete {path.name} "
                "to begin anew"
            )
        journal.done += [int(position) for position in rest]
        if lines[-1]:
            os.truncate(path, path.stat().st_size - len(lines[-1]))
        return journal

    def __post_init__(self) -> None:
        self._let_go = weakref.finalize(self, os.close, self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._let_go()

    def note(self, position: int) -> None:
        """Note that one more batch is done, and the sink's position after it."""
        self._append(position)
        self.done.append(position)

    def _append(self, entry: Any, *, fresh: bool = False) -> None:
        try:
            with open(self.path, "wb" if fresh else "ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error
