"""SAE reconstruction: a model-generated activation, encoded and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.registry import PairBlock, kind

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@kind("sae-reconstruction")
class SaeReconstruction(CodeKind):
    """``decode(encode(a))`` of the model-generated target ``a``."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The code of the same activation that ``model-generated`` gives."""
        return block.other_code
