"""Codes: taking them apart, putting them together, kinds that are made of them, and what describes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plateau_lens._errors import ResourceError
from plateau_lens.activations.registry import Activations, Kind, PairBlock

if TYPE_CHECKING:
    from plateau_lens.saes.dictionary import Dictionary


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


def require_room(choices: int, active: ActiveLatents, *, move: bool = True) -> None:
    """Refuse to give a code new latents, no two the same, where there are too few.

    Args:
        choices: latents that may be chosen.
        active: of the codes; the longest counts.
        move: whether each latent has to become another one.

    Raises:
        ResourceError: if the last active latent of a code could find none.
    """
    longest = active.latent.shape[1]
    if choices < longest + move:
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
