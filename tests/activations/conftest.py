"""Dictionaries whose codes can be read back from what they decode, through the public interface alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from plateau_lens import Dictionary, PairBlock
from plateau_lens.activations.population import Population
from plateau_lens.activations.registry import KINDS
from plateau_lens.models.quiet import quiet
from plateau_lens.saes.firing import Firing

SHIFT = 0.01
"""Encoder threshold: hides the rounding noise of the inverse."""


@dataclass
class Lab:
    """An SAE with as many latents as dimensions, so that activations and codes are one to one."""

    dictionary: Dictionary
    inverse: torch.Tensor

    @property
    def d_sae(self) -> int:
        return self.dictionary.d_sae

    def activation(self, *codes: dict[int, float]) -> torch.Tensor:
        """Activations whose codes are these values on these latents."""
        wanted = torch.zeros(len(codes), self.d_sae, dtype=torch.float64)
        for row, code in enumerate(codes):
            for latent, value in code.items():
                wanted[row, latent] = value + SHIFT
        return (wanted @ self.inverse.inverse()).float()

    def codes(self, activations: torch.Tensor) -> list[dict[int, float]]:
        """The codes that these decoded activations are made of."""
        solved = activations.double() @ self.inverse
        return [{int(j): round(float(row[j]), 3) for j in (row > 0.1).nonzero().flatten()} for row in solved]

    def block(
        self,
        base: torch.Tensor,
        *,
        other: torch.Tensor | None = None,
        population: torch.Tensor | None = None,
        pair: list[int] | None = None,
        seed: int = 0,
        top_cosine: float = 0.3,
    ) -> PairBlock:
        everyone = base if population is None else population
        return PairBlock(
            pair=np.arange(len(base)) if pair is None else np.array(pair),
            base=base,
            other=base.flip(0) if other is None else other,
            population=Population(everyone, seed),
            dictionary=self.dictionary,
            top_cosine=top_cosine,
            seed=seed,
            firing=Firing(self.dictionary, everyone),
        )


@pytest.fixture(scope="session")
def make_lab() -> Callable[..., Lab]:
    """A `Lab` with decoder cosines that vary, and given firing frequencies (dead where 0)."""

    def make(frequency: torch.Tensor, *, seed: int = 0) -> Lab:
        with quiet():
            from sae_lens import StandardSAE, StandardSAEConfig

            d_sae = len(frequency)
            sae = StandardSAE(StandardSAEConfig(d_in=d_sae, d_sae=d_sae))
        generator = torch.Generator().manual_seed(seed)
        shared = torch.randn(d_sae, 4, generator=generator, dtype=torch.float64)
        directions = torch.randn(4, d_sae, generator=generator, dtype=torch.float64)
        w_dec = torch.eye(d_sae, dtype=torch.float64) + 0.5 * shared @ torch.nn.functional.normalize(
            directions
        )
        w_dec = w_dec / w_dec.norm(dim=-1, keepdim=True)
        # Directions need not be of length 1: cosines must not depend on it.
        w_dec = w_dec * torch.empty(d_sae, 1, dtype=torch.float64).uniform_(0.5, 2.0, generator=generator)
        with torch.no_grad():
            sae.W_dec.copy_(w_dec)
            sae.W_enc.copy_(w_dec.inverse())
            sae.b_enc.fill_(-SHIFT)
            sae.b_dec.zero_()
        sae.eval().requires_grad_(False)
        dictionary = Dictionary(sae, "lab", frequency.double(), "given", {})
        return Lab(dictionary, w_dec.inverse())

    return make


@pytest.fixture(scope="session")
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """160 latents with firing frequencies all over the place; each tenth is dead."""
    generator = torch.Generator().manual_seed(1)
    frequency = torch.rand(160, generator=generator, dtype=torch.float64) ** 3 + 1e-4
    frequency[::10] = 0
    return make_lab(frequency)


@pytest.fixture(scope="session")
def random_codes(lab: Lab) -> list[dict[int, float]]:
    """30 codes of 0 to 12 alive latents, with distinct values."""
    rng = np.random.default_rng(2)
    alive = lab.dictionary.alive.nonzero().flatten().numpy()
    codes = []
    for row in range(30):
        latents = rng.choice(alive, size=row % 13, replace=False)
        values = np.round(rng.permutation(np.linspace(1, 9, 12))[: len(latents)], 3)
        codes.append({int(j): float(v) for j, v in zip(latents, values, strict=True)})
    return codes


@pytest.fixture
def kinds_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(KINDS, "_known", dict(KINDS.all()))
