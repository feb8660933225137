"""Covariance mixture: the base moved by a covariance-matched step that does not depend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float


@kind("covariance-mixture")
class CovarianceMixture(Kind):
    """``A + (g - g')``: the base, and the difference of two independent normal draws with the population's covariance.

    A path toward any activation ``T`` that knows nothing of the base ``A`` has the direction ``T - A``, of which
    ``-A`` is a part: it leads away from the base as such. Lee and Heimersheim (arXiv 2410.12555) found sensitivities to
    such directions misleading and propose covariance-random mixtures, directions that do not use the activation they
    are added to. Here it is the step ``g - g'`` that does not use the base; it has mean 0 and twice the population's
    covariance, as the difference of two model-generated activations has. How the paper mixes its draws we know from
    its summary only; it scales directions to given lengths, we keep theirs.
    """

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """The base and its step; each pair's two draws come from its own generator."""
        rngs = block.rngs(purpose)
        one, other = block.population.gaussian(rngs), block.population.gaussian(rngs)
        return block.base + (one - other)
