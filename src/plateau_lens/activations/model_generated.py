"""Model-generated: the activation that the model computed for another prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float


@kind("model-generated")
class ModelGenerated(Kind):
    """Another prompt's activation, drawn without replacement, never the pair's own."""

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """See `plateau_lens.activations.population.Population.others`."""
        return block.other
