"""Assignment: which latent takes the place of each active one of a code, none of them twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from plateau_lens._errors import ResourceError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from plateau_lens.activations.codes import ActiveLatents


def require_room(choices: int, active: ActiveLatents, *, move: bool = True, distinct: bool = True) -> None:
    """Refuse to give a code new latents where there are too few.

    Args:
        choices: latents that may be chosen.
        active: of the codes; the longest counts.
        move: whether each latent has to become another one.
        distinct: whether no two may be the same.

    Raises:
        ResourceError: if the last active latent of a code could find none.
    """
    longest = active.latent.shape[1]
    if choices < (longest if distinct else min(1, longest)) + move:
        raise ResourceError(
            f"{choices} latents may be chosen, but a code has {longest} active ones, each of which has to move "
            "elsewhere; choose a larger SAE, or measure its firing frequency on more prompts"
        )


def assign_cheapest(
    active: ActiveLatents,
    candidates: Int[Tensor, "pair rank candidate"],
    cost: Float[Tensor, "pair rank candidate"],
    used: Bool[Tensor, "pair d_sae"],
    otherwise: Callable[[Int[Tensor, ""], Bool[Tensor, " d_sae"]], Int[Tensor, ""]],
    *,
    reuse: bool = False,
) -> Int[Tensor, "pair rank"]:
    """A latent in place of each active one: rank after rank, the cheapest candidate that is not used yet.

    Args:
        active: the latents to replace; what comes back for padding is arbitrary.
        candidates: what each may be replaced by.
        cost: the least wins.
        used: latents that a code has already; those chosen here are added to it, in place.
        otherwise: what replaces a latent, given that and the used ones, when all of its candidates are used.
        reuse: let a latent be chosen again.
    """
    chosen = active.latent.clone()
    for rank in range(active.latent.shape[1]):
        near, here = candidates[:, rank], active.active[:, rank]
        price = cost[:, rank].masked_fill(used.gather(1, near), torch.inf)
        least, choice = price.min(dim=-1, keepdim=True)
        latent = near.gather(1, choice)
        for row in (least[:, 0].isinf() & here).nonzero().flatten().tolist():
            latent[row] = otherwise(active.latent[row, rank], used[row])
        chosen[:, rank] = latent[:, 0]
        if not reuse:
            used.scatter_(1, latent, here[:, None] | used.gather(1, latent))
    return chosen


def assign_nearest(
    active: ActiveLatents,
    wanted: Float[Tensor, "pair rank"],
    value: Float[Tensor, "pair d_sae"],
    spare: Float[Tensor, "pair d_sae"],
) -> Int[Tensor, "pair rank"]:
    """A latent in place of each active one: rank after rank, the unused one whose value is nearest to a wanted one.

    Args:
        active: the latents to replace; what comes back for padding is arbitrary.
        wanted: values to come close to.
        value: of every latent; infinite where it is not to be chosen, which this makes those that are.
        spare: the same, to turn to where a code has used up all of ``value``.
    """
    chosen = active.latent.clone()
    gap = torch.empty_like(value)
    for rank in range(active.latent.shape[1]):
        here = active.active[:, rank, None]
        torch.sub(value, wanted[:, rank, None], out=gap).abs_()
        # On a CPU, numpy's argmin takes a tenth of the time of torch's; both return the first of equals.
        latent = torch.from_numpy(gap.cpu().numpy().argmin(axis=-1)).to(gap.device)[:, None]
        for row in (gap.gather(1, latent).isinf() & here)[:, 0].nonzero().flatten().tolist():
            latent[row] = (spare[row] - wanted[row, rank]).abs().argmin()
        chosen[:, rank] = latent[:, 0]
        for each in (value, spare):
            each.scatter_(1, latent, each.gather(1, latent).masked_fill(here, torch.inf))
    return chosen
