"""Building synthetic-structured targets with a large random dictionary, against the passes they come from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import PairBlock, make_kinds
from plateau_lens.saes.dictionary import Dictionary

TOP_COSINE = 0.42
"""Of the paper's notebooks."""


def random_dictionary(
    d_model: int, *, d_sae: int = 24_576, active: int = 40, seed: int = 0, device: str = "cpu"
) -> Dictionary:
    """Random unit decoder, encoder its transpose, firing frequencies log-uniform in 1e-5..1e-1.

    The encoder's bias is set so that on `random_activations` ``active`` latents fire on average, as many as in a
    real SAE.
    """
    from plateau_lens.models.quiet import quiet

    with quiet():
        from sae_lens import StandardSAE, StandardSAEConfig

        sae = StandardSAE(StandardSAEConfig(d_in=d_model, d_sae=d_sae))
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, d_model, generator=generator), dim=-1)
    # The product of such an activation with a unit direction is all but unit normal.
    threshold = -torch.special.ndtri(torch.tensor(active / d_sae, dtype=torch.float64)).item()
    with torch.no_grad():
        sae.W_dec.copy_(decoder)
        sae.W_enc.copy_(decoder.T)
        sae.b_enc.fill_(-threshold)
        sae.b_dec.zero_()
    sae.to(device).eval().requires_grad_(False)
    frequency = 10.0 ** (-5 + 4 * torch.rand(d_sae, generator=generator, dtype=torch.float64))
    return Dictionary(sae, "random", frequency.to(device), "drawn", {})


def random_activations(rows: int, d_model: int, *, seed: int = 0, device: str = "cpu") -> Tensor:
    """Activations [row, d_model] to make targets from: random directions, all of length sqrt(d_model)."""
    drawn = torch.randn(rows, d_model, generator=torch.Generator().manual_seed(seed))
    return (d_model**0.5 * torch.nn.functional.normalize(drawn, dim=-1)).to(device)


class StructuredTargets:
    """Targets of ``base`` [pair, d_model] by blocks of a work unit's size, from encoding to decoding."""

    def __init__(self, dictionary: Dictionary, base: Tensor, *, unit_size: int):
        self.dictionary = dictionary
        self.base = base
        self.unit_size = unit_size
        self.kind = make_kinds({"synthetic-structured": {}})["synthetic-structured"]
        self.population = Population(base, seed=0)

    def __call__(self) -> Tensor:
        """Build them all."""
        return torch.cat([self._block(start) for start in range(0, len(self.base), self.unit_size)])

    def _block(self, start: int) -> Tensor:
        base = self.base[start : start + self.unit_size]
        block = PairBlock(
            pair=np.arange(start, start + len(base)),
            base=base,
            other=base.roll(1, dims=0),
            population=self.population,
            dictionary=self.dictionary,
            top_cosine=TOP_COSINE,
            seed=0,
        )
        return self.kind.make(block, "bench").activation
