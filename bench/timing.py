"""Best-of-many times of several calls, taken in turns so that the machine's moods meet all alike."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

BATCH = 20e-6  # seconds; so that reading the clock (0.05 µs) does not count
TURN = 10e-3  # seconds; longer than OpenMP's idle threads of the competitor before keep a CPU busy
LEAST_TURNS = 3


def interleaved(calls: Mapping[str, Callable[[], Any]], seconds: float, pause: float = 0.0) -> dict[str, float]:
    """The least seconds a call took, for each; `seconds` is for each, and passed only for the least number of turns.
    A turn begins after a pause: of calls longer than a turn, idle threads of the one before would take the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        best = {name: first_time(call) for name, call in calls.items()}
        turns = dict.fromkeys(calls, 0)
        spent = dict.fromkeys(calls, 0.0)
        while waiting := [name for name in calls if turns[name] < LEAST_TURNS or spent[name] < seconds]:
            for name in waiting:
                sleep(pause)
                start = perf_counter()
                best[name] = min(best[name], turn(calls[name], best[name]))
                spent[name] += perf_counter() - start
                turns[name] += 1
        return best
    finally:
        if collecting:
            gc.enable()


def first_time(call: Callable[[], Any]) -> float:
    call()  # compiles, allocates, starts threads
    return timed(call, 1)


def turn(call: Callable[[], Any], expected: float) -> float:
    """The best of as many batches as fit a turn, after as long that is not timed, unless one call takes longer: a
    shared cache of a server takes many passes over some megabytes before it keeps them."""
    repeats = max(1, math.ceil(BATCH / expected))
    end = perf_counter() + TURN
    while expected < TURN and perf_counter() < end:
        timed(call, repeats)
    end = perf_counter() + TURN
    best = math.inf
    while True:
        best = min(best, timed(call, repeats))
        if perf_counter() > end:
            return best


def timed(call: Callable[[], Any], repeats: int) -> float:
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


@contextmanager
def cpus(n: int) -> Iterator[None]:
    """Keeps every thread of this process on `n` of its CPUs: the one way to limit libraries that offer no setting."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    # the last ones, since interrupts are mostly served by the first
    set_affinity(set(sorted(allowed)[-n:]))
    try:
        yield
    finally:
        set_affinity(allowed)


def set_affinity(chosen: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # ended meanwhile
            os.sched_setaffinity(int(thread.name), chosen)
