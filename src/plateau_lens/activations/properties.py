"""Properties: what describes a code, real or synthetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plateau_lens.activations.codes import active_latents

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from plateau_lens.saes.dictionary import Dictionary


class CodeProperties(NamedTuple):
    """What describes a code; NaN where it has too few active latents to say. One value a pair."""

    active: Float[Tensor, " pair"]
    """Active latents."""
    top_share: Float[Tensor, " pair"]
    """Share of the top latent in the summed activation, 0..1."""
    top_cosine: Float[Tensor, " pair"]
    """Mean decoder cosine of the other active latents to the top one, -1..1."""
    log10_frequency: Float[Tensor, " pair"]
    """Mean log10 firing frequency of the active latents; latents that never fire are left out."""


def code_properties(codes: Float[Tensor, "pair d_sae"], dictionary: Dictionary) -> CodeProperties:
    """Describe codes the way the paper compares real and synthetic ones, in float64."""
    active = active_latents(codes)
    mask = active.active.double()
    n = mask.sum(dim=-1)
    value = active.value.double() * mask
    if not active.latent.shape[1]:
        nothing = n.new_full(n.shape, float("nan"))
        return CodeProperties(n, nothing, nothing, nothing)
    cosine = dictionary.cosines(active.latent[:, 0], active.latent).double()
    others = mask.clone()
    others[:, 0] = 0
    assert dictionary.frequency is not None
    frequency = dictionary.frequency[active.latent]
    firing = mask * (frequency > 0)
    log10 = frequency.where(frequency > 0, 1.0).log10()
    # 0 / 0 is NaN: the property of a code that has no such latent.
    return CodeProperties(
        active=n,
        top_share=value[:, 0] / value.sum(dim=-1),
        top_cosine=(cosine * others).sum(dim=-1) / others.sum(dim=-1),
        log10_frequency=(log10 * firing).sum(dim=-1) / firing.sum(dim=-1),
    )
