"""Who does shards of work: this process, or workers of Ray's."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ..errors import OptionError, check_known

ENGINES = ("local", "ray")

P_contra = TypeVar("P_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Engine(Protocol[P_contra, R_co]):
    """Does shards, and yields what came of each when it is done; closing what it returns drops those that are not."""

    def __call__(self, shards: Iterable[P_contra], /) -> Generator[R_co]: ...  # noqa: D102


@dataclass(frozen=True)
class Hands:
    """Who does the work.

    Attributes
    ----------
    engine : {"local", "ray"}
        This process, or Ray's workers.
    workers : int, optional
        How many of Ray's.
    address : str, optional
        Of a Ray cluster; default one on this machine, for as long as the run takes.
    gpus : float
        GPUs for each worker.

    Raises
    ------
    OptionError
        The engine is not known, or something is said that is for the other.
    """

    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        check_known("engine", self.engine, ENGINES)
        if self.engine == "local" and (self.workers, self.address, self.gpus) != (None, None, 0.0):
            raise OptionError("workers, an address and GPUs for each worker are for the engine ray (engine=, --engine)")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers is {self.workers}; it is at least 1")
        if self.gpus < 0:
            raise OptionError(f"gpus_per_worker is {self.gpus:g}; it is at least 0")

    def check_devices(self, *devices: str) -> None:
        """Refuse GPUs that would stand idle.

        Raises
        ------
        OptionError
        """
        if self.gpus and set(devices) == {"cpu"}:
            raise OptionError(f"{self.gpus:g} GPUs for each worker, but the device is cpu: pass device cuda or auto")

    def threaded(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options of an explainer with the threads of its sessions: one in a worker, where nothing is said.

        The last bits of some operators depend on it: with the same ``threads`` both engines give the same numbers.
        """
        return dict(options) if self.engine == "local" else {**options, "threads": options.get("threads") or 1}
