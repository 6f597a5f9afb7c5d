"""What Ray has to be told: how it starts, what workers claim of it, when it has gone quiet, whose errors are whose."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import FgcamError, OptionError

ROOM = 1.0
"""Cores left to Ray's tasks that read: where workers take every core, those wait for ever and nothing is said."""

QUIET = 120.0
"""Seconds without a shard after which it is said."""


def share_of(cores: float, workers: int) -> float:
    """Return the cores that each worker claims, so that there is room for tasks that read; at most 1."""
    room = ROOM if cores > ROOM else cores / 2
    return min(1.0, (cores - room) / workers)


def claims(cores: float, lanes: int, gpus: float) -> dict[str, Any]:
    """Return what workers claim of the cluster."""
    import ray.data

    pool = ray.data.ActorPoolStrategy(size=lanes)
    return {"num_cpus": share_of(cores, lanes), "num_gpus": gpus or None, "compute": pool}


def ray_module() -> Any:
    """Import Ray, without its reports of use.

    Raises
    ------
    OptionError
        It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError(f'the engine ray needs the package ray ({error}): pip install "fgcam-onnx[ray]"') from error
    return ray


def started(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one on this machine, whose own logs then stay in Ray's folder."""
    if address is None:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(
            address=address, include_dashboard=None if address else False, log_to_driver=False, logging_level="error"
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise OptionError(f"Ray does not start{f' at {address}' if address else ''}: {error}") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


@contextmanager
def watched(quiet: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call ``quiet`` whenever what is yielded was not called for long."""
    moved, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if not moved.wait(QUIET) and not over.is_set():
                quiet()
            moved.clear()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield moved.set
    finally:
        over.set()
        moved.set()
        thread.join()


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise what a worker raised on purpose as itself."""
    import ray.exceptions

    try:
        yield
    except (ray.exceptions.RayError, RuntimeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, FgcamError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is None:
            raise FgcamError(f"Ray stopped: {str(error).strip().splitlines()[-1]}") from error
        raise cause from error
