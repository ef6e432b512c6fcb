"""Timing for the benchmarks: medians of interleaved repetitions, on one thread."""

import statistics
import time
from collections.abc import Callable


def medians(repeats: int, **functions: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each function; they take turns, so that a slow moment of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def goal(name: str, value: float, limit: float, unit: str = "") -> bool:
    """Print a measured figure beside its goal; tells whether it holds."""
    good = value <= limit
    print(
        f"  {'ok  ' if good else 'MISS'} {name}: {value:.2f}{unit} (goal: at most {limit:g}{unit})",
        flush=True,
    )
    return good
