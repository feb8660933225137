"""Synthetic structured: latents swapped so that their decoder cosines to the top latent are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.latent_swap import LatentSwap
from plateau_lens.activations.registry import PairBlock, kind

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@kind("synthetic-structured")
class SyntheticStructured(CodeKind):
    """The code's geometry around its top latent, on other latents; values kept.

    1. The top latent ``t`` is replaced by ``c``: of the `neighbours` alive latents nearest to ``t`` in firing
       frequency, the one whose decoder cosine with ``t`` is closest to `top_cosine`.
    2. Every other active latent ``j``, largest first, is replaced by the unused alive latent whose decoder
       cosine with ``c`` is closest to ``cos(t, j)``.

    Source: arXiv 2409.15019v2, section 4.3.
    """

    top_cosine: float | Literal["measured"] = "measured"
    """``measured``: mean cosine of two model-generated activations about the SAE's decoder bias, 0.42 on GPT-2."""
    neighbours: int = Field(default=100, ge=1)
    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt (the paper) or the other prompt's."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The rebuilt codes. Nothing here is random."""
        swap = LatentSwap(top_cosine=self.top_cosine, top_neighbours=self.neighbours, code=self.code)
        return swap.code_of(block, purpose)
