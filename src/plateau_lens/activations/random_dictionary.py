"""Random dictionary: the base's code, read with random directions in place of the decoder's."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from plateau_lens.activations.codes import active_latents
from plateau_lens.activations.population import rng
from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    from jaxtyping import Float


@kind("random-dictionary")
class RandomDictionary(Kind):
    """``b + sum_i v_i |d_i| r_i``: latents keep values and decoder norms, and get random unit directions ``r``.

    ``r_i`` is uniform on the sphere in d_model and the same for every pair of a run. Beside `shuffled-decoder` this
    takes away the decoder's own geometry, too. Where the run centres, a draw is centred like every other, so that it
    does not matter whether the decoder is.
    """

    needs_sae: ClassVar[bool] = True

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """Decode the base's code with the random directions; they are made for the latents that are active."""
        dictionary = block.latents
        active = active_latents(block.code)
        latents, place = active.latent.unique(return_inverse=True)
        normal = np.zeros((len(latents), dictionary.d_model))
        for row, latent in enumerate(latents.tolist()):
            normal[row] = rng(block.seed, purpose, latent).standard_normal(dictionary.d_model)
        directions = torch.nn.functional.normalize(torch.from_numpy(normal).to(block.base), dim=-1)
        weight = active.value.where(active.active, 0.0) * dictionary.W_dec.norm(dim=-1)[active.latent]
        return dictionary.bias + torch.einsum("pr,prd->pd", weight, directions[place])
