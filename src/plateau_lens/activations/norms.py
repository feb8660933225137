"""Norms: an activation moved along its ray from a centre until it is as long as a real one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Rescaled(NamedTuple):
    """Activations of given norms, and what they were multiplied by about the centre."""

    activation: Float[Tensor, "pair d_model"]
    scale: Float[Tensor, " pair"]
    """``s > 0``, float64; NaN, as the whole activation, where the ray never has that norm."""


def with_norm(
    activation: Float[Tensor, "pair d_model"],
    norm: Float[Tensor, " pair"],
    about: Float[Tensor, " d_model"],
) -> Rescaled:
    """``c + s (x - c)`` with the largest ``s > 0`` for which ``|c + s (x - c)|`` is the wanted norm; in float64.

    Args:
        activation: ``x``.
        norm: wanted, residual-stream units, one a pair.
        about: the centre ``c``. Where it is shorter than the wanted norm, there is exactly one such ``s``.
    """
    centre = about.double()
    apart = activation.double() - centre
    # |c + s u|^2 = n^2 is a s^2 + 2 b s + d = 0.
    a = apart.square().sum(dim=-1)
    b = apart @ centre
    d = centre @ centre - norm.double().square()
    scale = (-b + (b.square() - a * d).sqrt()) / a
    scale = scale.where(scale > 0, torch.nan)
    return Rescaled((centre + scale[:, None] * apart).to(activation), scale)
