"""Structured without cosine: as structured, but the new top latent is chosen by firing frequency alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.latent_swap import LatentSwap
from plateau_lens.activations.registry import PairBlock, kind

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@kind("structured-without-cosine")
class StructuredWithoutCosine(CodeKind):
    """The code's geometry around its top latent, on other latents; values kept.

    1. The top latent ``t`` is replaced by ``c``, the alive latent nearest to it in firing frequency, whatever their
       decoder cosine.
    2. Every other active latent as in `SyntheticStructured`.

    Source: arXiv 2409.15019v2, appendix A ("w/o cos sim").
    """

    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt (the paper) or the other prompt's."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The rebuilt codes. Nothing here is random."""
        return LatentSwap(top="nearest", code=self.code).code_of(block, purpose)
