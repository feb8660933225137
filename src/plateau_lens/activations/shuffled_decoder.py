"""Shuffled decoder: the base's code, read with the decoder directions of other latents."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from plateau_lens.activations.codes import CodeKind, active_latents, to_codes
from plateau_lens.activations.population import rng
from plateau_lens.activations.registry import PairBlock, kind


@kind("shuffled-decoder")
class ShuffledDecoder(CodeKind):
    """``b + sum_i v_i |d_i| u_s(i)``: latents keep values and decoder norms, and swap unit directions ``u``.

    ``s`` is one permutation of the alive latents, the same for every pair of a run. What fires together and how much
    of it there is stays as in the base's code; what it points to has nothing to do with that any more.
    """

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The base's code on the latents whose directions it is given."""
        dictionary = block.latents
        alive = dictionary.alive.nonzero().flatten()
        order = torch.from_numpy(rng(block.seed, purpose, 0).permutation(len(alive))).to(alive)
        other = torch.arange(dictionary.d_sae, device=alive.device)
        other[alive] = alive[order]
        active, norm = active_latents(block.code), dictionary.W_dec.norm(dim=-1)
        latent = other[active.latent]
        value = active.value * norm[active.latent] / norm[latent]
        return to_codes(active._replace(latent=latent, value=value), dictionary.d_sae)
