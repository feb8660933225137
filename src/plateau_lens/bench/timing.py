"""Interleaved, repeated timing: every work once a round, so that the machine's moods meet all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

Work = Callable[[], object]


def interleaved(
    works: Mapping[str, Work], *, rounds: int, device: torch.device, tell: Callable[[str], None]
) -> dict[str, list[float]]:
    """Seconds of wall time of each work in each round, in the order given, after one round to warm up.

    Args:
        works: what to time, by name.
        rounds: timed rounds.
        device: whose queue is emptied before the clock is read.
        tell: called with what is running.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            tell(f"{name}, {f'round {turn} of {rounds}' if turn else 'warming up'}")
            took = _timed(work, device)
            if turn:
                seconds[name].append(took)
    return seconds


def _timed(work: Work, device: torch.device) -> float:
    _finish(device)
    started = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class Ratio(NamedTuple):
    """How many times one work's seconds are another's."""

    value: float
    """Ratio of the medians."""
    lowest: float
    """Of the ratios within each round."""
    highest: float


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """``median(numerator) / median(denominator)``, and the spread over rounds (both have one value a round)."""
    rounds = [a / b for a, b in zip(numerator, denominator, strict=True)]
    value = statistics.median(numerator) / statistics.median(denominator)
    return Ratio(value, min(rounds), max(rounds))
