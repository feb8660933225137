"""Synthetic structured: latents swapped so that their decoder cosines to the top latent are kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from plateau_lens._errors import ConfigError
from plateau_lens.activations.codes import ActiveLatents, CodeKind, active_latents, to_codes
from plateau_lens.activations.registry import PairBlock, kind
from plateau_lens.saes.neighbours import nearest_in_frequency

if TYPE_CHECKING:
    from plateau_lens.saes.dictionary import Dictionary


@kind("synthetic-structured")
class SyntheticStructured(CodeKind):
    """The code's geometry around its top latent, on other latents; values kept.

    1. The top latent ``t`` is replaced by ``c``: of the `neighbours` alive latents nearest to ``t`` in firing
       frequency, the one whose decoder cosine with ``t`` is closest to `top_cosine`.
    2. Every other active latent ``j``, largest first, is replaced by the unused alive latent whose decoder
       cosine with ``c`` is closest to ``cos(t, j)``.

    Source: arXiv 2409.15019, "synthetic-structured"; the paper's notebooks used ``top_cosine`` 0.42.
    """

    top_cosine: float | Literal["measured"] = "measured"
    """``measured``: mean decoder cosine between the top latents of two model-generated activations."""
    neighbours: int = Field(default=100, ge=1)
    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt (the paper) or the other prompt's."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The rebuilt codes. Nothing here is random."""
        dictionary = block.latents
        wanted = block.top_cosine if self.top_cosine == "measured" else self.top_cosine
        if math.isnan(wanted):
            raise ConfigError("top_cosine: measured needs a population of at least 2 prompts; set a number")
        active = active_latents(block.code if self.code == "base" else block.other_code)
        replaced = self._swap(active, dictionary, wanted)
        return to_codes(active._replace(latent=replaced), dictionary.d_sae)

    def _swap(self, active: ActiveLatents, dictionary: Dictionary, wanted: float) -> Int[Tensor, "pair rank"]:
        chosen = torch.zeros_like(active.latent)
        if not active.latent.shape[1]:
            return chosen
        assert dictionary.frequency is not None
        directions = dictionary.unit_decoder
        top = active.latent[:, 0]
        cosine_to_top = directions[top] @ directions.T
        near = nearest_in_frequency(dictionary.frequency, dictionary.alive, top, k=self.neighbours)
        best = (cosine_to_top.gather(1, near) - wanted).abs().argmin(dim=-1, keepdim=True)
        chosen[:, 0] = near.gather(1, best)[:, 0]
        cosine_to_new = directions[chosen[:, 0]] @ directions.T
        # A taken or dead latent is infinitely far from any cosine.
        cosine_to_new = cosine_to_new.masked_fill(~dictionary.alive, torch.inf)
        cosine_to_new.scatter_(1, chosen[:, :1], torch.inf)
        for rank in range(1, active.latent.shape[1]):
            target = cosine_to_top.gather(1, active.latent[:, rank : rank + 1])
            latent = (cosine_to_new - target).abs().argmin(dim=-1, keepdim=True)
            chosen[:, rank : rank + 1] = latent
            taken = cosine_to_new.gather(1, latent).masked_fill(active.active[:, rank : rank + 1], torch.inf)
            cosine_to_new.scatter_(1, latent, taken)
        return chosen
