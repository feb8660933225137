"""Single latent: one latent's decoder direction, as long as the base."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from plateau_lens.activations.codes import CodeKind
from plateau_lens.activations.registry import PairBlock, kind


@kind("single-latent")
class SingleLatent(CodeKind):
    """One alive latent, uniformly drawn, with the value that gives the activation the base's norm.

    The value ``v >= 0`` solves ``|b + v d| = |A|`` for the latent's decoder direction ``d``, the decoder's bias
    ``b`` and the base ``A`` (the larger solution; where there is none, the value that comes closest). Of the base it
    takes nothing but that norm, so that it differs from the others in direction and not in size: a code's top value
    alone would leave the activation near the bias.
    """

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """Codes with one active latent."""
        dictionary = block.latents
        alive = dictionary.alive.nonzero().flatten()
        drawn = [int(generator.integers(len(alive))) for generator in block.rngs(purpose)]
        latent = alive[torch.tensor(drawn, device=alive.device)]
        direction, bias = dictionary.W_dec[latent].double(), dictionary.bias.double()
        squared = direction.square().sum(dim=-1)
        middle = -(direction @ bias) / squared
        reach = (block.base.double().square().sum(dim=-1) - bias @ bias) / squared
        value = middle + (middle.square() + reach).clamp_min(0).sqrt()
        codes = torch.zeros(len(drawn), dictionary.d_sae, dtype=dictionary.W_dec.dtype, device=alive.device)
        return codes.scatter_(1, latent[:, None], value.clamp_min(0).to(codes)[:, None])
