"""The yardstick of the engine's proof: L2 and KL of parallel steps against those of each step alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from plateau_lens._devices import double
from plateau_lens.models.centring import centred
from plateau_lens.responses.kl import KL
from plateau_lens.responses.l2 import L2


class Behind(NamedTuple):
    """What is behind the last block."""

    states: Float[Tensor, "pair step d_model"]
    logits: Float[Tensor, "pair step vocab"]


class Measured(NamedTuple):
    """A response, and how much of it is rounding."""

    values: Float[Tensor, "pair step"]
    noise: float


class Error(NamedTuple):
    """Largest difference of a response between parallel steps and each alone, relative to the largest response."""

    value: float
    limit: float
    """What the method may differ by, and what rounding does, relative to the same."""

    @property
    def passed(self) -> bool:
        """Whether it is within its limit; an error that is no number is not."""
        return self.value <= self.limit


@dataclass(frozen=True)
class Proof:
    """Parallel steps that gave what the model gives for each step alone."""

    device: str
    dtype: str
    """Of the model."""
    tried_in: str
    """What the trial was computed in."""
    n_ctx: int
    n_points: int
    n_pairs: int
    site: str
    errors: Mapping[str, Error]
    """Of each response."""


def responses(behind: Behind, *, centre: bool) -> dict[str, Measured]:
    """L2 and KL from step 0 on."""
    rounding = 16 * torch.finfo(behind.states.dtype).eps * float(behind.states.abs().max())
    logits = behind.logits.to(torch.promote_types(behind.logits.dtype, torch.float32))
    return {
        "L2": Measured(double(L2().of(centred(behind.states, centre))), rounding),
        "KL": Measured(double(KL().of(logits)), KL.noise),
    }


def compared(found: Measured, wanted: Measured, limit: float) -> Error:
    """The largest difference, relative to the largest wanted value."""
    largest = float(
        wanted.values.abs().max().clamp_min(1e-30)
    )  # of a response that is 0, rounding alone is left
    difference = float((found.values - wanted.values).abs().max())
    return Error(difference / largest, limit + max(found.noise, wanted.noise) / largest)
