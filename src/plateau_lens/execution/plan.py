"""The plan: a configuration as a list of work units. Pure data; no tensor, no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plateau_lens.glossary import Experiment
from plateau_lens.runs.config import RunConfig


@dataclass(frozen=True)
class Unit:
    """A block of pairs with every experiment, kind and schedule of them; becomes one shard."""

    index: int
    experiments: tuple[Experiment, ...]
    pair: tuple[int, ...]
    """Indices of the pairs; what their randomness is seeded by."""
    prompt: tuple[int, ...]
    """Which prompt each pair's base comes from."""
    hop: tuple[int, ...]
    """Which other prompt gives the model-generated target (see `Population.others`)."""

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """pair, prompt and hop as arrays."""
        return np.array(self.pair), np.array(self.prompt), np.array(self.hop)


def plan(config: RunConfig) -> list[Unit]:
    """Cut a run into units.

    Pairs ``0..pairs-1`` take prompt ``i`` each; the examples of Figure 1 come after them, one unit a base,
    each of its pairs with the same prompt and another target.
    """
    units: list[Unit] = []
    main: tuple[Experiment, ...] = tuple(name for name in config.experiments if name != "examples")
    if main:
        for start in range(0, config.pairs, config.unit_size):
            pair = tuple(range(start, min(start + config.unit_size, config.pairs)))
            units.append(Unit(len(units), main, pair, pair, (1,) * len(pair)))
    if "examples" in config.experiments:
        targets = example_targets(config)
        for base in range(min(config.examples.bases, config.pairs)):
            first = config.pairs + base * targets
            pair = tuple(range(first, first + targets))
            units.append(
                Unit(len(units), ("examples",), pair, (base,) * targets, tuple(range(1, targets + 1)))
            )
    return units


def example_targets(config: RunConfig) -> int:
    """Targets of each example base: as asked, or as many as there are other prompts."""
    return min(config.examples.targets, config.prompts.population - 1)
