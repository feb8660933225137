"""Codes as lists of active latents: what the synthetic kinds take apart and put together again."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor


class ActiveLatents(NamedTuple):
    """The active latents of some codes, largest first, padded to the longest code."""

    latent: Int[Tensor, "pair rank"]
    value: Float[Tensor, "pair rank"]
    active: Bool[Tensor, "pair rank"]
    """False on padding."""


def active_latents(codes: Float[Tensor, "pair d_sae"]) -> ActiveLatents:
    """Take codes apart. ``rank`` is 0 for each code's top latent."""
    longest = int((codes > 0).sum(dim=-1).max()) if codes.numel() else 0
    value, latent = codes.topk(longest, dim=-1)
    return ActiveLatents(latent, value, value > 0)


def to_codes(active: ActiveLatents, d_sae: int) -> Float[Tensor, "pair d_sae"]:
    """Put codes together; latents of one code must be distinct."""
    codes = active.value.new_zeros(len(active.value), d_sae)
    return codes.scatter_add_(1, active.latent, active.value.where(active.active, 0.0))
