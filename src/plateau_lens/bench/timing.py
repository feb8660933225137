"""Interleaved, repeated timing: every work once a round, so that the machine's moods meet all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

Work = Callable[[], object]


def interleaved(
    works: Mapping[str, Work],
    *,
    rounds: int,
    device: torch.device,
    tell: Callable[[str], None],
    done: Callable[[str, Mapping[str, Sequence[float]]], None] = lambda *_: None,
    until: float = math.inf,
) -> dict[str, list[float]]:
    """Seconds of wall time of each work in each round, in the order given.

    The first round is one to warm up: it counts for works alone that come to no other.

    Args:
        works: what to time, by name.
        rounds: timed rounds, after the first.
        device: whose queue is emptied before the clock is read.
        tell: called with what is running.
        done: called behind every work with its name and the seconds so far, its own time not measured.
        until: of `time.perf_counter`. What is not to be done by then, as its last turn says, ends it: works may have a
            round more than others, or none at all.
    """
    every: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            expected = every[name][-1] if turn and every[name] else 0.0
            if time.perf_counter() + expected >= until:
                return {each: _counted(samples) for each, samples in every.items()}
            tell(f"{name}, {f'round {turn} of {rounds}' if turn else 'warming up'}")
            every[name].append(_timed(work, device))
            done(name, {each: _counted(samples) for each, samples in every.items()})
    return {name: _counted(samples) for name, samples in every.items()}


def _counted(samples: list[float]) -> list[float]:
    return samples[1:] or samples


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
    """``median(numerator) / median(denominator)``, and the spread over rounds, of those that both have."""
    both = min(len(numerator), len(denominator))
    numerator, denominator = numerator[:both], denominator[:both]
    rounds = [a / b for a, b in zip(numerator, denominator, strict=True)]
    value = statistics.median(numerator) / statistics.median(denominator)
    return Ratio(value, min(rounds), max(rounds))
