"""Synthetic random: the base's values on latents chosen at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.registry import PairBlock, kind
from plateau_lens.activations.synthetic_baseline import SyntheticBaseline

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@kind("synthetic-random")
class SyntheticRandom(CodeKind):
    """Every active latent's value moved to another alive latent, uniformly, no latent used twice in a code.

    A `SyntheticBaseline` that does not look at firing frequencies. Source: arXiv 2409.15019v2, section 4.3.
    """

    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt (the paper) or the other prompt's."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The bags."""
        return SyntheticBaseline(match="none", code=self.code).code_of(block, purpose)
