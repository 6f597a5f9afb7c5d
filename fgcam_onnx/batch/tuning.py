"""How many pictures at once suit a session: a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .job import Job

SIZES = (1, 2, 4, 8, 16)
LONGEST = 0.5
"""Seconds that a call may take; beyond it larger batches are not tried."""

GAIN = 0.95
"""A larger batch is taken where a picture takes less than this share of the time."""


def tuned(job: Job, *, clock: Callable[[], float] = time.perf_counter) -> int:
    """Return the batch with which a picture takes the least time, the smaller one where they hardly differ."""
    explainer = replace(job, batch=SIZES[-1]).explainer()
    example = job.example()
    best, least = 1, float("inf")
    explainer(example)
    for size in SIZES:
        x = np.repeat(example, size, 0)
        taken = []
        for _ in range(2):
            start = clock()
            explainer(x)
            taken.append(clock() - start)
        each = min(taken) / size
        if each < GAIN * least:
            best, least = size, each
        if min(taken) > LONGEST:
            break
    return best
