"""The plan: a configuration as a list of work units. Pure data; no tensor, no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plateau_lens.experiments.registry import EXPERIMENTS, Experiment, PairSet
from plateau_lens.runs.config import RunConfig


@dataclass(frozen=True)
class Unit:
    """A set of pairs with every experiment, kind and schedule of them; becomes one shard."""

    index: int
    experiments: tuple[str, ...]
    """Labels of the experiments."""
    pairs: PairSet
    lays_paths: bool = True
    """Whether any of them does."""

    @property
    def pair(self) -> tuple[int, ...]:
        """Indices of the pairs."""
        return self.pairs.pair

    @property
    def prompt(self) -> tuple[int, ...]:
        """Which prompt each pair's base comes from."""
        return self.pairs.prompt

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """pair, prompt and hop as arrays."""
        return np.array(self.pairs.pair), np.array(self.pairs.prompt), np.array(self.pairs.hop)


def plan(config: RunConfig) -> list[Unit]:
    """Cut a run into units.

    Pairs ``0..pairs-1`` take prompt ``i`` each, and are shared by the experiments that have no pairs of their own;
    those of the others come after them.
    """
    experiments: Mapping[str, Experiment] = EXPERIMENTS.make(config.experiments, of="experiments")
    own = {label: list(pairs) for label, pairs in _own_pairs(config, experiments)}
    units: list[Unit] = []
    shared = tuple(label for label in experiments if label not in own)
    for start in range(0, config.pairs if shared else 0, config.unit_size):
        pair = tuple(range(start, min(start + config.unit_size, config.pairs)))
        pairs = PairSet(pair, pair, (1,) * len(pair))
        units.append(Unit(len(units), shared, pairs, any(experiments[label].lays_paths for label in shared)))
    for label, sets in own.items():
        lays_paths = experiments[label].lays_paths
        units += [Unit(len(units) + i, (label,), pairs, lays_paths) for i, pairs in enumerate(sets)]
    return units


def _own_pairs(config: RunConfig, experiments: Mapping[str, Experiment]):
    first = config.pairs
    for label, experiment in experiments.items():
        found = experiment.pairs(config, first)
        if found is not None:
            sets = list(found)
            first += sum(len(each.pair) for each in sets)
            yield label, sets
