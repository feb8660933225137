"""Anatomy: how a code's activation is shared among its latents, and how these lie to one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from plateau_lens.saes.dictionary import Dictionary

RANKS = 10
"""Latents, largest first, whose shares are kept."""
BINS = 200
"""Bins of equal width over -1..1 in which cosines are counted; each but the last has its lower edge."""


class Anatomy(NamedTuple):
    """One code, latent by latent. arXiv 2409.15019v2, appendix E."""

    active: int
    """Active latents."""
    shares: Float[np.ndarray, " rank"]
    """Shares of the largest `RANKS` latents in the summed activation, 0..1, largest first; as many as there are."""
    to_top: Float[np.ndarray, " other"]
    """Decoder cosine of each other active latent with the top one, -1..1, largest latent first."""
    among: Int[np.ndarray, " bin"]
    """Decoder cosines between all pairs of active latents, each pair once: how many lie in each of the `BINS`."""
    mean_among: float
    """Their mean, -1..1; NaN for a code of fewer than two latents."""


def anatomies(codes: Float[Tensor, "pair d_sae"], dictionary: Dictionary) -> Iterator[Anatomy]:
    """Take codes apart, one after another; what is summed is summed in float64."""
    import torch

    for code in codes:
        latent = (code > 0).nonzero().flatten()
        value, order = code[latent].sort(descending=True, stable=True)
        direction = dictionary.unit_decoder[latent[order]]
        cosine = (direction @ direction.T).clamp(-1, 1).cpu()
        above = torch.triu_indices(len(latent), len(latent), offset=1)
        among = cosine[above[0], above[1]].numpy()
        share = value.double() / value.double().sum()
        yield Anatomy(
            active=len(latent),
            shares=share[:RANKS].cpu().numpy(),
            to_top=cosine[:1, 1:].flatten().numpy(),
            among=np.histogram(among, bins=BINS, range=(-1.0, 1.0))[0],
            mean_among=float(among.mean(dtype=np.float64)) if among.size else float("nan"),
        )
