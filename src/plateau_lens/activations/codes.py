"""Codes: taking them apart, putting them together, and kinds that are made of them."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from plateau_lens.activations.registry import Activations, Kind, PairBlock


class CodeKind(Kind):
    """A kind that is decoded from a code; subclasses make the code."""

    needs_sae: ClassVar[bool] = True

    values: Literal["kept", "own"] = "kept"
    """``kept``: as the kind makes them; ``own``: each active latent's value is drawn anew from the values that this
    latent has on the run's population, whatever latent it stands for. One that never fires there keeps its value."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """Codes to decode, one a pair; arguments as of `Kind.draw`."""
        raise NotImplementedError

    def draw(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_model"] | Activations:
        """Decode `code_of`, with values as `values` asks for."""
        code = self.code_of(block, purpose)
        if self.values == "own":
            code = own_values(code, block, f"{purpose}:values")
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


def own_values(
    codes: Float[Tensor, "pair d_sae"], block: PairBlock, purpose: str
) -> Float[Tensor, "pair d_sae"]:
    """The codes' active latents, each with a value drawn from those that it has on the run's population."""
    active = active_latents(codes)
    value = active.value.clone()
    for row, (generator, length) in enumerate(
        zip(block.rngs(purpose), active.active.sum(dim=-1).tolist(), strict=True)
    ):
        for rank, latent in enumerate(active.latent[row, :length].tolist()):
            its_own = block.fired.values(latent)
            if its_own.size:
                value[row, rank] = float(its_own[generator.integers(its_own.size)])
    return to_codes(active._replace(value=value), codes.shape[1])


def to_codes(active: ActiveLatents, d_sae: int, *, overwrite: bool = False) -> Float[Tensor, "pair d_sae"]:
    """Put codes together; latents of one code must be distinct, or the later of two ``overwrite`` the earlier."""
    codes = active.value.new_zeros(len(active.value), d_sae)
    if not overwrite:
        return codes.scatter_add_(1, active.latent, active.value.where(active.active, 0.0))
    for rank in range(active.latent.shape[1]):
        latent, value = active.latent[:, rank, None], active.value[:, rank, None]
        codes.scatter_(1, latent, value.where(active.active[:, rank, None], codes.gather(1, latent)))
    return codes
