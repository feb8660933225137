"""The bootstrap over pairs: drawn once, and shared by everything that is computed of the same pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8

BLOCK_ELEMENTS = 4_000_000
"""Counts in a block, 16 MB: all draws of 1,000 pairs or fewer."""
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

    counts: UInt8[np.ndarray, "draw pair"]
    """Times a pair is in a draw; whole numbers, n_pairs in all in each draw.

    A byte is enough: in a thousand runs of any number of pairs, no pair is drawn 30 times over.
    """

    def __init__(self, n_pairs: int, *, seed: int, n_resamples: int = RESAMPLES):
        rng = np.random.default_rng(seed)
        self.counts = np.ones((1 + n_resamples, n_pairs), dtype=np.uint8)
        for draw in self.counts[1:]:
            draw[:] = np.bincount(rng.integers(n_pairs, size=n_pairs), minlength=n_pairs)

    def blocks(self) -> Iterator[Float32[np.ndarray, "pair draw"]]:
        """The counts a block of draws at a time, draw 0 first, to multiply values with.

        What is computed of them draw by draw may be joined along the draws. All at once would be the largest thing
        in a large run's memory.
        """
        draws = max(1, BLOCK_ELEMENTS // max(1, self.n_pairs))
        for start in range(0, len(self.counts), draws):
            yield np.ascontiguousarray(self.counts[start : start + draws].T, dtype=np.float32)

    @property
    def n_pairs(self) -> int:
        """Pairs of the sample."""
        return self.counts.shape[1]
