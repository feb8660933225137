"""SAE reconstruction: a model-generated activation, encoded and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float


@kind("sae-reconstruction")
class SaeReconstruction(Kind):
    """``decode(encode(a))`` of the model-generated target ``a``."""

    needs_sae: ClassVar[bool] = True

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """Reconstruct the same activation that ``model-generated`` gives."""
        return block.latents.decode(block.other_code)
