"""Random: normal draws with the population's mean and covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float


@kind("random")
class Random(Kind):
    """Normal with the population's mean and covariance."""

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """See `plateau_lens.activations.population.Population.gaussian`."""
        return block.population.gaussian(block.rngs(purpose))
