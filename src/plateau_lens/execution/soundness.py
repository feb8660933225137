"""Whether the activations of a run's prompts can be what everything is drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from plateau_lens._errors import ResourceError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

OUTLIER = 100
"""Times the median norm from which on an activation is one."""


class Norms(NamedTuple):
    """How long the population's activations are; what the manifest has under ``population``."""

    median_norm: float
    largest_norm: float
    outliers: int
    """Activations of at least `OUTLIER` times the median norm."""

    def lines(self) -> list[str]:
        """What a user is told."""
        if not self.outliers:
            return []
        return [
            f"note on the prompts: {self.outliers} of their activations have {OUTLIER} times the median norm of "
            f"{self.median_norm:.3g} or more, up to {self.largest_norm:.3g}; mean and covariance, and so "
            "all random targets, are drawn to them"
        ]


def norms_of(activations: Float[Tensor, "prompt d_model"], site: str) -> Norms:
    """Look the population over before anything is drawn from it.

    Raises:
        ResourceError: if an activation is not finite, which would make mean, covariance and every random target NaN, or
            if all are the same, so that no path leads from one to another.
    """
    norms = torch.linalg.vector_norm(activations.double(), dim=-1)
    broken = (~norms.isfinite()).nonzero().flatten().tolist()
    if broken:
        raise ResourceError(
            f"{len(broken)} of {len(norms)} prompts, the first of them {broken[0]}, have an activation that is NaN or "
            f"infinite at {site}; choose a wider dtype, other prompts, or another site"
        )
    if bool((activations == activations[:1]).all()):
        raise ResourceError(
            f"all {len(norms)} prompts have the same activation at {site}, so that no path leads from one to another; "
            "choose another site, or other prompts"
        )
    median = float(norms.median())
    return Norms(median, float(norms.max()), int((norms >= OUTLIER * median).sum()) if median > 0 else 0)
