"""Which latents are alike: neighbours in firing frequency, and in decoder cosine to a third."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plateau_lens._errors import ResourceError


def nearest_in_frequency(
    frequency: Float[Tensor, " d_sae"],
    alive: Bool[Tensor, " d_sae"],
    latents: Int[Tensor, " row"],
    *,
    k: int,
) -> Int[Tensor, "row k"]:
    """The ``k`` alive latents nearest to each given one in firing frequency, nearest first.

    Nearness is ``|f_i - f_j|``; a latent is never its own neighbour, and dead ones are nobody's. Ties keep
    the order of (frequency, index).

    Args:
        frequency: share of tokens each latent is active on.
        alive: which latents may be chosen.
        latents: whose neighbours are wanted.
        k: how many.

    Raises:
        ResourceError: if fewer than ``k`` others are alive.
    """
    candidates = alive.nonzero().flatten()
    if len(candidates) <= k:
        raise ResourceError(
            f"{len(candidates)} latents are alive, but {k} neighbours of one of them are needed; "
            "choose another SAE, or measure its firing frequency on more prompts"
        )
    order = candidates[frequency[candidates].argsort(stable=True)]
    sorted_frequency = frequency[order]
    # Itself included, the k nearest lie within k places either side of where the latent would be inserted.
    window = torch.arange(-k - 1, k + 2, device=order.device)
    place = torch.full_like(alive, -1, dtype=torch.long)
    place[order] = torch.arange(len(order), device=order.device)
    inserted = torch.searchsorted(sorted_frequency, frequency[latents])
    centre = torch.where(place[latents] >= 0, place[latents], inserted)
    places = centre[:, None] + window
    inside = (places >= 0) & (places < len(order))
    places = places.clamp(0, len(order) - 1)
    gap = (sorted_frequency[places] - frequency[latents][:, None]).abs()
    gap = gap.masked_fill(~inside | (order[places] == latents[:, None]), torch.inf)
    nearest = gap.argsort(dim=-1, stable=True)[:, :k]
    return order[places.gather(1, nearest)]


def nearest_in_cosine(
    cosine: Float[Tensor, "row d_sae"],
    allowed: Bool[Tensor, "row d_sae"],
    wanted: Float[Tensor, "row rank"],
    *,
    k: int,
) -> tuple[Int[Tensor, "row rank candidate"], Float[Tensor, "row rank candidate"]]:
    """Candidates among which are the ``k`` allowed latents whose cosine is closest to each wanted one.

    Args:
        cosine: of every latent to one direction a row, -1..1.
        allowed: which latents may be chosen.
        wanted: cosines to come close to.
        k: how many at least, as far as so many are allowed.

    Returns:
        Latents, in no order, and their gaps ``|cosine - wanted|``: infinite for what is not to be chosen.
    """
    ordered, latent = cosine.masked_fill(~allowed, torch.inf).sort(dim=-1, stable=True)
    # The k nearest lie within k places either side of where the wanted cosine would be inserted.
    places = torch.searchsorted(ordered, wanted)[..., None] + torch.arange(-k, k, device=cosine.device)
    inside = (places >= 0) & (places < cosine.shape[1])
    places = places.clamp(0, cosine.shape[1] - 1)
    gap = (ordered.gather(1, places.flatten(1)).reshape(places.shape) - wanted[..., None]).abs()
    return latent.gather(1, places.flatten(1)).reshape(places.shape), gap.masked_fill(~inside, torch.inf)


def nearest_unused(
    latent: Int[Tensor, ""], frequency: Float[Tensor, " d_sae"], free: Bool[Tensor, " d_sae"]
) -> Int[Tensor, ""]:
    """Of the latents that are free, the one nearest to ``latent`` in firing frequency, itself apart."""
    gap = (frequency - frequency[latent]).abs().masked_fill(~free, torch.inf)
    gap[latent] = torch.inf
    return gap.argmin()
