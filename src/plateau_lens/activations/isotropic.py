"""Isotropic: any direction, as long as the base."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from plateau_lens.activations.registry import Kind, PairBlock, kind

if TYPE_CHECKING:
    from jaxtyping import Float


@kind("isotropic")
class Isotropic(Kind):
    """``|A| g / |g|`` with ``g`` standard normal in d_model and ``|A|`` the base's norm.

    It has neither the population's covariance nor its mean, which `random` has, and takes nothing but the norm from
    the base. Where the run centres, a draw is centred like every other and loses 1 / d_model of its squared norm.
    Source: the naive random directions of Heimersheim and Mendel, "Activation plateaus & sensitive directions" (2024).
    """

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """Uniform on the sphere through the base."""
        d_model = block.base.shape[-1]
        normal = np.stack([generator.standard_normal(d_model) for generator in block.rngs(purpose)])
        direction = torch.nn.functional.normalize(torch.from_numpy(normal).to(block.base.device), dim=-1)
        length = block.base.double().norm(dim=-1, keepdim=True)
        return (length * direction).to(block.base)
