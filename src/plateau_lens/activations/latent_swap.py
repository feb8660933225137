"""Latent swap: the base's values on other latents, of which one chooses what they have in common with the old."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from plateau_lens._errors import ConfigError
from plateau_lens.activations.assignment import assign_cheapest, assign_nearest, require_room
from plateau_lens.activations.codes import ActiveLatents, CodeKind, active_latents, to_codes
from plateau_lens.activations.registry import PairBlock, kind
from plateau_lens.saes.neighbours import nearest_in_frequency, nearest_unused


@kind("latent-swap")
class LatentSwap(CodeKind):
    """A code whose top latent ``t`` is replaced by ``c``, and every other active latent ``j`` in its turn; values kept.

    The two parameters say what the new latents have in common with the old ones; only alive latents are used,
    none twice. The defaults are ``synthetic-structured`` (arXiv 2409.15019), whose parts the others take away or
    add to; ``synthetic-baseline`` is the swap that looks at no cosine at all.
    """

    top: Literal["cosine", "nearest", "frequency", "any"] = "cosine"
    """What becomes of ``t``.

    ``cosine``: of the `top_neighbours` latents nearest to ``t`` in firing frequency, the one whose decoder cosine
    with ``t`` is closest to `top_cosine`; ``nearest``: of those the nearest; ``frequency``: one of them, uniformly;
    ``any``: any other latent, uniformly.
    """
    others: Literal["cosine", "frequency-and-cosine", "co-activation"] = "cosine"
    """What becomes of each ``j``, largest first.

    ``cosine``: the unused latent whose cosine with ``c`` is closest to ``cos(t, j)``; ``frequency-and-cosine``: the
    same among the `neighbours` latents nearest to ``j`` in firing frequency (if all are used, the next nearest);
    ``co-activation``: the same among the latents that fire together with ``c`` on the run's population more often
    than by chance (see `plateau_lens.saes.firing`), and once these are used up, among all. There ``c`` is one of the
    latents that fire on the population at all.
    """
    top_cosine: float | Literal["measured"] = "measured"
    """``measured``: mean cosine of two model-generated activations about the SAE's decoder bias, 0.42 on GPT-2."""
    top_neighbours: int = Field(default=100, ge=1)
    neighbours: int = Field(default=100, ge=1)
    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt or the other prompt's."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The swapped codes. Random only in the choice of ``c``, and only unless that is by cosine."""
        dictionary = block.latents
        active = active_latents(block.code if self.code == "base" else block.other_code)
        if not active.latent.shape[1]:
            return to_codes(active, dictionary.d_sae)
        require_room(int(dictionary.alive.sum()), active, move=self.others == "frequency-and-cosine")
        old = active.latent[:, 0]
        top = self._new_top(old, block, purpose)
        rest = ActiveLatents(*(part[:, 1:] for part in active))
        wanted = dictionary.cosines(old, rest.latent)
        cosine = dictionary.unit_decoder[top] @ dictionary.unit_decoder.T
        if self.others == "frequency-and-cosine":
            chosen = self._nearest_in_both(rest, top, wanted, cosine, block)
        else:
            chosen = self._nearest_in_cosine(rest, top, wanted, cosine, block)
        replaced = torch.cat([top[:, None], chosen], dim=1)
        return to_codes(active._replace(latent=replaced), dictionary.d_sae)

    def _new_top(self, old: Int[Tensor, " pair"], block: PairBlock, purpose: str) -> Int[Tensor, " pair"]:
        dictionary = block.latents
        allowed = dictionary.alive
        if self.others == "co-activation":
            allowed = allowed & (block.fired.count > 0)
        if self.top == "any":
            candidates = allowed.nonzero().flatten().cpu().numpy()
            drawn = [
                int(generator.choice(candidates[candidates != latent]))
                for generator, latent in zip(block.rngs(purpose), old.tolist(), strict=True)
            ]
            return torch.tensor(drawn, device=old.device)
        assert dictionary.frequency is not None
        within = 1 if self.top == "nearest" else self.top_neighbours
        near = nearest_in_frequency(dictionary.frequency, allowed, old, k=within, ties=block.ties)
        if self.top == "nearest":
            return near[:, 0]
        if self.top == "frequency":
            drawn = [int(generator.integers(self.top_neighbours)) for generator in block.rngs(purpose)]
            best = torch.tensor(drawn, device=old.device)[:, None]
        else:
            gap = (dictionary.cosines(old, near) - self._wanted_cosine(block)).abs()
            best = gap.argmin(dim=-1, keepdim=True)
        return near.gather(1, best)[:, 0]

    def _wanted_cosine(self, block: PairBlock) -> float:
        wanted = block.top_cosine if self.top_cosine == "measured" else self.top_cosine
        if math.isnan(wanted):
            raise ConfigError("top_cosine: measured needs a population of at least 2 prompts; set a number")
        return wanted

    def _nearest_in_cosine(
        self,
        old: ActiveLatents,
        top: Int[Tensor, " pair"],
        wanted: Float[Tensor, "pair rank"],
        cosine: Float[Tensor, "pair d_sae"],
        block: PairBlock,
    ) -> Int[Tensor, "pair rank"]:
        cosine = cosine.masked_fill(~block.latents.alive, torch.inf).scatter_(1, top[:, None], torch.inf)
        preferred = cosine
        if self.others == "co-activation":
            preferred = cosine.masked_fill(~block.fired.together(top), torch.inf)
        return assign_nearest(old, wanted, preferred, spare=cosine)

    def _nearest_in_both(
        self,
        old: ActiveLatents,
        top: Int[Tensor, " pair"],
        wanted: Float[Tensor, "pair rank"],
        cosine: Float[Tensor, "pair d_sae"],
        block: PairBlock,
    ) -> Int[Tensor, "pair rank"]:
        dictionary, ties = block.latents, block.ties
        alive, frequency = dictionary.alive, dictionary.frequency
        assert frequency is not None
        near = nearest_in_frequency(frequency, alive, old.latent.flatten(), k=self.neighbours, ties=ties)
        shape = (*old.latent.shape, self.neighbours)
        gap = (cosine.gather(1, near.reshape(len(top), -1)).reshape(shape) - wanted[..., None]).abs()
        used = torch.zeros(len(top), dictionary.d_sae, dtype=torch.bool, device=top.device)
        return assign_cheapest(
            old,
            near.reshape(shape),
            gap,
            used.scatter_(1, top[:, None], True),
            lambda latent, used: nearest_unused(latent, frequency, alive & ~used, ties=ties),
        )
