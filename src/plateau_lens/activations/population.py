"""The population: the site activations of many prompts, which targets and covariances are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import torch


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

    @cached_property
    def mean(self) -> Float[torch.Tensor, " d_model"]:
        """Mean activation, float64."""
        return self.activations.double().mean(dim=0)

    @cached_property
    def deviations(self) -> Float[torch.Tensor, "prompt d_model"]:
        """``(a_i - mean) / sqrt(N - 1)``, float64: any unit-normal mixture of the rows has the covariance."""
        return (self.activations.double() - self.mean) / (len(self) - 1) ** 0.5

    def gaussian(
        self, generators: Sequence[np.random.Generator], *, scale: float = 1.0
    ) -> Float[torch.Tensor, "draw d_model"]:
        """Normal draws with the population's mean and ``scale`` squared times its covariance, one a generator.

        ``mean + sum_i g_i (a_i - mean) / sqrt(N - 1)``: exact, with no factorisation of a covariance that is
        singular whenever the residual stream is centred or d_model >= N.
        """
        import torch

        g = np.stack([generator.standard_normal(len(self)) for generator in generators])
        draws = self.mean + scale * torch.from_numpy(g).to(self.mean.device) @ self.deviations
        return draws.to(self.activations.dtype)

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
