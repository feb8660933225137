"""Synthetic baseline: a "bag of latents" with the base's values on other latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens.activations.codes import ActiveLatents, active_latents, to_codes
from plateau_lens.activations.registry import Kind, PairBlock, kind
from plateau_lens.saes.neighbours import nearest_in_frequency

if TYPE_CHECKING:
    from plateau_lens.saes.dictionary import Dictionary


@kind("synthetic-baseline")
class SyntheticBaseline(Kind):
    """Every active latent's value moved to another alive latent, no latent used twice in a code.

    Source: arXiv 2409.15019, "synthetic-baseline".
    """

    needs_sae: ClassVar[bool] = True

    match: Literal["frequency", "none"] = "frequency"
    """``frequency``: uniform among the `neighbours` nearest in firing frequency; ``none``: uniform over alive."""
    neighbours: int = 10
    code: Literal["base", "other"] = "base"
    """Whose code: the pair's own prompt (the paper) or the other prompt's."""

    def draw(self, block: PairBlock, purpose: str) -> Float[Tensor, "pair d_model"]:
        """Decode the bag."""
        dictionary = block.latents
        active = active_latents(block.code if self.code == "base" else block.other_code)
        rngs = block.rngs(purpose)
        if self.match == "frequency":
            replaced = self._frequency_matched(active, dictionary, rngs)
        else:
            replaced = _unmatched(active, dictionary, rngs)
        return dictionary.decode(to_codes(active._replace(latent=replaced), dictionary.d_sae))

    def _frequency_matched(
        self, active: ActiveLatents, dictionary: Dictionary, rngs: list[np.random.Generator]
    ) -> Int[Tensor, "pair rank"]:
        assert dictionary.frequency is not None
        pairs, ranks = active.latent.shape
        near = nearest_in_frequency(
            dictionary.frequency, dictionary.alive, active.latent.flatten(), k=self.neighbours
        ).reshape(pairs, ranks, self.neighbours)
        # The smallest of independent uniform keys is a uniform choice, also among those still unused. Keys are
        # drawn for each code's own length, so that they do not depend on which pairs share a block.
        keys = torch.full((pairs, ranks, self.neighbours), torch.inf, dtype=torch.float64)
        for row, (generator, length) in enumerate(zip(rngs, active.active.sum(dim=-1).tolist(), strict=True)):
            keys[row, :length] = torch.from_numpy(generator.random((length, self.neighbours)))
        keys = keys.to(active.latent.device)
        used = torch.zeros(pairs, dictionary.d_sae, dtype=torch.bool, device=active.latent.device)
        chosen = torch.zeros_like(active.latent)
        for rank in range(ranks):
            taken = used.gather(1, near[:, rank])
            choice = keys[:, rank].masked_fill(taken, torch.inf).argmin(dim=-1, keepdim=True)
            latent = near[:, rank].gather(1, choice)[:, 0]
            exhausted = taken.all(dim=-1) & active.active[:, rank]
            for row in exhausted.nonzero().flatten().tolist():
                latent[row] = _nearest_unused(active.latent[row, rank], dictionary, used[row])
            chosen[:, rank] = latent
            used |= (
                torch.nn.functional.one_hot(latent, dictionary.d_sae).bool() & active.active[:, rank, None]
            )
        return chosen


def _nearest_unused(latent: Tensor, dictionary: Dictionary, used: Tensor) -> Tensor:
    """Where all near latents are taken: the next nearest in firing frequency that is not."""
    assert dictionary.frequency is not None
    gap = (dictionary.frequency - dictionary.frequency[latent]).abs()
    gap = gap.masked_fill(used | ~dictionary.alive, torch.inf)
    gap[latent] = torch.inf
    return gap.argmin()


def _unmatched(
    active: ActiveLatents, dictionary: Dictionary, rngs: list[np.random.Generator]
) -> Int[Tensor, "pair rank"]:
    alive = dictionary.alive.nonzero().flatten().cpu().numpy()
    chosen = active.latent.clone()
    lengths = active.active.sum(dim=-1).tolist()
    for row, (generator, length) in enumerate(zip(rngs, lengths, strict=True)):
        own = active.latent[row, :length].tolist()
        drawn: list[int] = []
        for latent in own:
            candidate = int(generator.choice(alive))
            while candidate == latent or candidate in drawn:
                candidate = int(generator.choice(alive))
            drawn.append(candidate)
        chosen[row, :length] = torch.tensor(drawn, dtype=chosen.dtype)
    return chosen
