"""Examples: a few bases, each pushed toward several targets (Figure 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from plateau_lens._errors import ConfigError
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

    bases: int = Field(default=3, ge=1)
    targets: int = Field(default=10, ge=1)
    kinds: tuple[str, ...] | Literal["auto"] = "auto"
    """Labels of kinds the run has; auto: model-generated and random as the paper, or the run's first two."""

    def pairs(self, config: RunConfig, first: int) -> Iterator[PairSet]:
        """One set a base: the same prompt, another target each, as far as there are other prompts."""
        targets = min(self.targets, config.prompts.population - 1)
        for base in range(min(self.bases, config.pairs)):
            start = first + base * targets
            yield PairSet(
                tuple(range(start, start + targets)), (base,) * targets, tuple(range(1, targets + 1))
            )

    def resolve(self, config: RunConfig) -> Examples:
        """With the labels of its kinds."""
        return self.model_copy(update={"kinds": self.labels(config)})

    def labels(self, config: RunConfig) -> tuple[str, ...]:
        """Those asked for, or the paper's two."""
        if self.kinds == "auto":
            named = tuple(
                label for name in ("model-generated", "random") for label in config.labels_of(name)[:1]
            )
            return named or tuple(config.kinds)[:2]
        assert not isinstance(self.kinds, str)
        unknown = [kind for kind in self.kinds if kind not in config.kinds]
        if unknown:
            raise ConfigError(
                f"experiments.{self.name}.kinds names {', '.join(map(repr, unknown))} but kinds has "
                f"{', '.join(map(repr, config.kinds))}; add it there, or leave {self.name!r} out of experiments"
            )
        return self.kinds
