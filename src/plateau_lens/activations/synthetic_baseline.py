"""Synthetic baseline: a "bag of latents" with the base's values on other latents."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from plateau_lens.activations.assignment import assign_cheapest, require_room
from plateau_lens.activations.codes import ActiveLatents, CodeKind, active_latents, to_codes
from plateau_lens.activations.registry import PairBlock, kind
from plateau_lens.saes.neighbours import nearest_in_frequency, nearest_unused


@kind("synthetic-baseline")
class SyntheticBaseline(CodeKind):
    """Every active latent's value moved to another alive latent, no latent used twice in a code.

    Source: arXiv 2409.15019, "synthetic-baseline".
    """

    match: Literal["frequency", "none"] = "frequency"
    """``frequency``: uniform among the `neighbours` nearest in firing frequency; ``none``: uniform over alive."""
    neighbours: int = Field(default=10, ge=1)
    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt (the paper) or the other prompt's."""
    dead: Literal["excluded", "included"] = "excluded"
    """Whether a latent that never fires may be chosen; ``included`` is the notebooks' way, as is the next one."""
    collisions: Literal["forbidden", "overwrite"] = "forbidden"
    """Whether a latent may be chosen twice, the later, smaller value overwriting the earlier."""

    def code_of(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_sae"]:
        """The bags."""
        dictionary = block.latents
        active = active_latents(block.code if self.code == "base" else block.other_code)
        rngs = block.rngs(purpose)
        assert dictionary.frequency is not None
        may_be_chosen = dictionary.alive if self.dead == "excluded" else torch.ones_like(dictionary.alive)
        require_room(int(may_be_chosen.sum()), active, distinct=self.collisions == "forbidden")
        if self.match == "frequency":
            replaced = self._frequency_matched(active, dictionary.frequency, may_be_chosen, rngs, block.ties)
        else:
            replaced = self._unmatched(active, may_be_chosen, rngs)
        overwrite = self.collisions == "overwrite"
        return to_codes(active._replace(latent=replaced), dictionary.d_sae, overwrite=overwrite)

    def _frequency_matched(
        self,
        active: ActiveLatents,
        frequency: Float[Tensor, " d_sae"],
        may_be_chosen: Bool[Tensor, " d_sae"],
        rngs: list[np.random.Generator],
        ties: Int[Tensor, " d_sae"],
    ) -> Int[Tensor, "pair rank"]:
        pairs, ranks = active.latent.shape
        latents = active.latent.flatten()
        near = nearest_in_frequency(frequency, may_be_chosen, latents, k=self.neighbours, ties=ties)
        near = near.reshape(pairs, ranks, self.neighbours)
        # The smallest of independent uniform keys is a uniform choice, also among those still unused. Keys are
        # drawn for each code's own length, so that they do not depend on which pairs share a block.
        keys = torch.full((pairs, ranks, self.neighbours), torch.inf, dtype=torch.float64)
        for row, (generator, length) in enumerate(zip(rngs, active.active.sum(dim=-1).tolist(), strict=True)):
            keys[row, :length] = torch.from_numpy(generator.random((length, self.neighbours)))
        used = torch.zeros(pairs, len(frequency), dtype=torch.bool, device=active.latent.device)
        return assign_cheapest(
            active,
            near,
            keys.to(active.latent.device),
            used,
            lambda latent, used: nearest_unused(latent, frequency, may_be_chosen & ~used, ties=ties),
            reuse=self.collisions == "overwrite",
        )

    def _unmatched(
        self, active: ActiveLatents, may_be_chosen: Bool[Tensor, " d_sae"], rngs: list[np.random.Generator]
    ) -> Int[Tensor, "pair rank"]:
        candidates = may_be_chosen.nonzero().flatten().cpu().numpy()
        chosen = active.latent.clone()
        lengths = active.active.sum(dim=-1).tolist()
        for row, (generator, length) in enumerate(zip(rngs, lengths, strict=True)):
            drawn: list[int] = []
            for latent in active.latent[row, :length].tolist():
                taken = {latent, *drawn} if self.collisions == "forbidden" else {latent}
                candidate = latent
                while candidate in taken:
                    candidate = int(candidates[generator.integers(len(candidates))])
                drawn.append(candidate)
            chosen[row, :length] = torch.tensor(drawn, dtype=chosen.dtype)
        return chosen
