"""Which latents are alike: neighbours in firing frequency."""

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
    ties: Int[Tensor, " d_sae"],
) -> Int[Tensor, "row k"]:
    """The ``k`` alive latents nearest to each given one in firing frequency, nearest first.

    Nearness is ``|f_i - f_j|``; a latent is never its own neighbour, and dead ones are nobody's. Latents of equal
    frequency stand in the order of ``ties``: an SAE's indices are no random order, and a frequency that was counted on
    few prompts is that of many latents.

    Args:
        frequency: share of tokens each latent is active on.
        alive: which latents may be chosen.
        latents: whose neighbours are wanted.
        k: how many.
        ties: a place for each latent, all of them different; see `plateau_lens.activations.registry.PairBlock.ties`.

    Raises:
        ResourceError: if fewer than ``k`` others are alive.
    """
    candidates = alive.nonzero().flatten()
    if len(candidates) <= k:
        raise ResourceError(
            f"{len(candidates)} latents are alive, but {k} neighbours of one of them are needed; "
            "choose another SAE, or measure its firing frequency on more prompts"
        )
    candidates = candidates[ties[candidates].argsort()]
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


def nearest_unused(
    latent: Int[Tensor, ""],
    frequency: Float[Tensor, " d_sae"],
    free: Bool[Tensor, " d_sae"],
    *,
    ties: Int[Tensor, " d_sae"],
) -> Int[Tensor, ""]:
    """Of the latents that are free, the one nearest to ``latent`` in firing frequency, itself apart.

    Of equally near ones, the first in the order of ``ties``.
    """
    gap = (frequency - frequency[latent]).abs().masked_fill(~free, torch.inf)
    gap[latent] = torch.inf
    return ties.masked_fill(gap > gap.min(), len(ties)).argmin()
