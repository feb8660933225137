"""Random: normal draws with the population's mean and covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float


@kind("random")
class Random(Kind):
    """Normal with the population's mean and covariance."""

    divisor: Literal["n-1", "n"] = "n-1"
    """Of the covariance; ``n`` is the notebooks' (see `plateau_lens.runs.convention`)."""

    rows: int | None = Field(default=None, ge=2)
    """Fit to the first so many rows of the population alone; null: to all. Two labels with and without it show what a
    smaller population makes."""

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """See `plateau_lens.activations.population.Population.gaussian`.

        Raises:
            ConfigError: if the population has fewer than ``rows``.
        """
        population = block.population if self.rows is None else block.population.first(self.rows)
        n = len(population)
        scale = 1.0 if self.divisor == "n-1" else ((n - 1) / n) ** 0.5
        return population.gaussian(block.rngs(purpose), scale=scale)
