"""Examples: a few bases, each pushed toward several targets (Figure 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from plateau_lens.experiments.registry import PairSet, experiment
from plateau_lens.experiments.toward import Toward

if TYPE_CHECKING:
    from plateau_lens.runs.config import RunConfig


@experiment("examples")
class Examples(Toward):
    """Single curves to look at: paths as of ``toward``, several a base, which no table summarises."""

    title = "Examples"
    sentence = "a few bases, several targets each"
    place = 30
    summarised = False
    usual_kinds = ("model-generated", "random")

    bases: int = Field(default=3, ge=1)
    targets: int = Field(default=10, ge=1)

    def pairs(self, config: RunConfig, first: int) -> Iterator[PairSet]:
        """One set a base: the same prompt, another target each, as far as there are other prompts."""
        targets = min(self.targets, config.prompts.population - 1)
        for base in range(min(self.bases, config.pairs)):
            start = first + base * targets
            yield PairSet(
                tuple(range(start, start + targets)), (base,) * targets, tuple(range(1, targets + 1))
            )
