"""Codes: taking them apart, putting them together, and kinds that are made of them."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from plateau_lens.activations.registry import Activations, Kind, PairBlock


class CodeKind(Kind):
    """A kind that is decoded from a code; subclasses make the code."""

    needs_sae: ClassVar[bool] = True

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """Codes to decode, one a pair; arguments as of `Kind.draw`."""
        raise NotImplementedError

    def draw(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_model"] | Activations:
        """Decode `code_of`."""
        code = self.code_of(block, purpose)
        return Activations(block.latents.decode(code), code)


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


def to_codes(active: ActiveLatents, d_sae: int, *, overwrite: bool = False) -> Float[Tensor, "pair d_sae"]:
    """Put codes together; latents of one code must be distinct, or the later of two ``overwrite`` the earlier."""
    codes = active.value.new_zeros(len(active.value), d_sae)
    if not overwrite:
        return codes.scatter_add_(1, active.latent, active.value.where(active.active, 0.0))
    for rank in range(active.latent.shape[1]):
        latent, value = active.latent[:, rank, None], active.value[:, rank, None]
        codes.scatter_(1, latent, value.where(active.active[:, rank, None], codes.gather(1, latent)))
    return codes
