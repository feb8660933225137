"""The population: the site activations of many prompts, which targets and covariances are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from plateau_lens._errors import ConfigError

if TYPE_CHECKING:
    import torch


BLOCK = 4096
"""Rows that are taken to float64 at once."""


def rng(seed: int, purpose: str, index: int) -> np.random.Generator:
    """The generator of one purpose and one index (a pair, say): the same wherever and whenever it is made."""
    return np.random.default_rng([seed, index, *purpose.encode()])


@dataclass(frozen=True)
class Population:
    """Model-generated activations of the run's prompts, in prompt order."""

    activations: Float[torch.Tensor, "prompt d_model"]
    seed: int

    def __len__(self) -> int:
        return len(self.activations)

    def first(self, rows: int) -> Population:
        """The first rows as a population of their own.

        Raises:
            ConfigError: if there are fewer.
        """
        if rows > len(self):
            raise ConfigError(f"the first {rows} rows of a population of {len(self)}: it has no more")
        return Population(self.activations[:rows], self.seed)

    @cached_property
    def mean(self) -> Float[torch.Tensor, " d_model"]:
        """Mean activation, float64."""
        import torch

        return torch.stack([rows.double().sum(dim=0) for rows in self._blocks()]).sum(dim=0) / len(self)

    def gaussian(
        self, generators: Sequence[np.random.Generator], *, scale: float = 1.0
    ) -> Float[torch.Tensor, "draw d_model"]:
        """Normal draws with the population's mean and ``scale`` squared times its covariance, one a generator.

        ``mean + scale * sum_i g_i (a_i - mean) / sqrt(N - 1)``: exact, with no factorisation of a covariance that
        is singular whenever the residual stream is centred or d_model >= N. Summed in float64, block by block: a
        float64 copy of a large population would be the largest thing in memory.
        """
        import torch

        scale /= (len(self) - 1) ** 0.5
        draws = self.mean.repeat(len(generators), 1)
        for rows in self._blocks():
            # A generator's numbers are the same whether they are drawn at once or in parts.
            g = np.stack([generator.standard_normal(len(rows)) for generator in generators])
            draws += scale * torch.from_numpy(g).to(draws.device) @ (rows.double() - self.mean)
        return draws.to(self.activations.dtype)

    def _blocks(self) -> Sequence[Float[torch.Tensor, "row d_model"]]:
        return self.activations.split(BLOCK)

    @cached_property
    def _cycle(self) -> tuple[np.ndarray, np.ndarray]:
        order = rng(self.seed, "model-generated", 0).permutation(len(self))
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return order, place

    def others(
        self, prompt: Int[np.ndarray, " pair"], hop: Int[np.ndarray, " pair"]
    ) -> Int[np.ndarray, " pair"]:
        """Prompts to take targets from: ``hop`` places on in one random cycle through all prompts.

        With equal hops that is a draw without replacement in which no prompt gets itself; the first
        ``N - 1`` hops of one prompt are all different, too, and come round again after that. Depends on the
        seed and on ``N`` alone.
        """
        order, place = self._cycle
        n = len(order)
        return order[(place[prompt] + 1 + (np.asarray(hop) - 1) % (n - 1)) % n]
