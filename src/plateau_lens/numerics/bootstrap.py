"""The bootstrap over pairs: drawn once, and shared by everything that is computed of the same pairs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
"""Resamples a bootstrap; the ends of a 95 % interval are then its 50th lowest and highest values."""


class PairBootstrap:
    """How often each pair is in each resample of pairs.

    All kinds of a run are measured on the same pairs. Resampling pairs, the same for every kind, keeps what
    two kinds have in common: intervals of their difference are paired without further ado.

    A *draw* is one resample; draw 0 is the sample itself, every pair once, so that an estimate and its interval
    come from the same arithmetic.

    Args:
        n_pairs: pairs of the run, >= 1.
        seed: of the resampling; the same seed gives the same draws.
        n_resamples: draws behind draw 0.
    """

    counts: Float[np.ndarray, "pair draw"]
    """Times a pair is in a draw; whole numbers, n_pairs in all in each draw."""

    def __init__(self, n_pairs: int, *, seed: int, n_resamples: int = RESAMPLES):
        rng = np.random.default_rng(seed)
        counts = np.ones((1 + n_resamples, n_pairs), dtype=np.float32)
        for draw in counts[1:]:
            draw[:] = np.bincount(rng.integers(n_pairs, size=n_pairs), minlength=n_pairs)
        self.counts = np.ascontiguousarray(counts.T)

    @property
    def n_pairs(self) -> int:
        """Pairs of the sample."""
        return self.counts.shape[0]
