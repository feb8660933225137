"""Latent swap: the base's values on other latents, of which one chooses what they have in common with the old."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from plateau_lens._errors import ConfigError
from plateau_lens.activations.codes import ActiveLatents, CodeKind, active_latents, assign, to_codes
from plateau_lens.activations.registry import PairBlock, kind
from plateau_lens.saes.neighbours import nearest_in_cosine, nearest_in_frequency, nearest_unused


@kind("latent-swap")
class LatentSwap(CodeKind):
    """A code whose top latent ``t`` is replaced by ``c``, and every other active latent ``j`` in its turn; values kept.

    The two parameters say what the new latents have in common with the old ones; only alive latents are used,
    none twice. The defaults are ``synthetic-structured`` (arXiv 2409.15019), whose parts the others take away or
    add to; ``synthetic-baseline`` is the swap that looks at no cosine at all.
    """

    top: Literal["cosine", "frequency", "any"] = "cosine"
    """What becomes of ``t``.

    ``cosine``: of the `top_neighbours` latents nearest to ``t`` in firing frequency, the one whose decoder cosine
    with ``t`` is closest to `top_cosine`; ``frequency``: one of those, uniformly; ``any``: any other latent, uniformly.
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
    """``measured``: mean decoder cosine between the top latents of two model-generated activations."""
    top_neighbours: int = Field(default=100, ge=1)
    neighbours: int = Field(default=100, ge=1)
    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt or the other prompt's."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The swapped codes. Random only in the choice of ``c``, and only unless that is by cosine."""
        active = active_latents(block.code if self.code == "base" else block.other_code)
        if not active.latent.shape[1]:
            return to_codes(active, block.latents.d_sae)
        directions = block.latents.unit_decoder
        cosine_to_old = directions[active.latent[:, 0]] @ directions.T
        top = self._new_top(active.latent[:, 0], cosine_to_old, block, purpose)
        cosine_to_new = directions[top] @ directions.T
        rest = ActiveLatents(*(part[:, 1:] for part in active))
        wanted = cosine_to_old.gather(1, rest.latent)
        chosen = self._new_others(rest, top, cosine_to_new, wanted, block)
        replaced = torch.cat([top[:, None], chosen], dim=1)
        return to_codes(active._replace(latent=replaced), block.latents.d_sae)

    def _new_top(
        self, old: Int[Tensor, " pair"], cosine: Float[Tensor, "pair d_sae"], block: PairBlock, purpose: str
    ) -> Int[Tensor, " pair"]:
        allowed = self._allowed(block)
        if self.top == "any":
            candidates = allowed.nonzero().flatten().cpu().numpy()
            drawn = [
                int(generator.choice(candidates[candidates != latent]))
                for generator, latent in zip(block.rngs(purpose), old.tolist(), strict=True)
            ]
            return torch.tensor(drawn, device=old.device)
        assert block.latents.frequency is not None
        near = nearest_in_frequency(block.latents.frequency, allowed, old, k=self.top_neighbours)
        if self.top == "frequency":
            drawn = [int(generator.integers(self.top_neighbours)) for generator in block.rngs(purpose)]
            best = torch.tensor(drawn, device=old.device)[:, None]
        else:
            best = (cosine.gather(1, near) - self._wanted_cosine(block)).abs().argmin(dim=-1, keepdim=True)
        return near.gather(1, best)[:, 0]

    def _allowed(self, block: PairBlock) -> Bool[Tensor, " d_sae"]:
        """What the new top latent may be."""
        alive = block.latents.alive
        return alive & (block.fired.count > 0) if self.others == "co-activation" else alive

    def _wanted_cosine(self, block: PairBlock) -> float:
        wanted = block.top_cosine if self.top_cosine == "measured" else self.top_cosine
        if math.isnan(wanted):
            raise ConfigError("top_cosine: measured needs a population of at least 2 prompts; set a number")
        return wanted

    def _new_others(
        self,
        old: ActiveLatents,
        top: Int[Tensor, " pair"],
        cosine: Float[Tensor, "pair d_sae"],
        wanted: Float[Tensor, "pair rank"],
        block: PairBlock,
    ) -> Int[Tensor, "pair rank"]:
        pairs, ranks = old.latent.shape
        alive, frequency = block.latents.alive, block.latents.frequency
        assert frequency is not None
        used = torch.zeros_like(cosine, dtype=torch.bool).scatter_(1, top[:, None], True)
        if self.others == "frequency-and-cosine":
            near = nearest_in_frequency(frequency, alive, old.latent.flatten(), k=self.neighbours)
            near = near.reshape(pairs, ranks, self.neighbours)
            gap = (cosine.gather(1, near.flatten(1)).reshape(near.shape) - wanted[..., None]).abs()
            return assign(
                old, near, gap, used, lambda latent, used: nearest_unused(latent, frequency, alive & ~used)
            )
        # Of any ranks + 1 candidates, one at least is unused.
        near, gap = nearest_in_cosine(cosine, alive.expand_as(cosine), wanted, k=ranks + 1)
        if self.others == "co-activation":
            friends = alive & block.fired.together(top)
            preferred, preferred_gap = nearest_in_cosine(cosine, friends, wanted, k=ranks + 1)
            # No gap is wider than 2: whoever fires together with the top latent comes first.
            near, gap = (
                torch.cat([preferred, near], dim=-1),
                torch.cat([preferred_gap, gap.double() + 3], dim=-1),
            )
        return assign(old, near, gap, used)
