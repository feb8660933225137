"""The machine's matrix-product rate: products of the shapes that the suffix has, and a large square one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from plateau_lens.bench.flops import block_matrices, unembedding
from plateau_lens.models.suffix import SuffixEngine

LEAST_FLOPS = 2e10
"""Operations a probe repeats its product for: a tenth of a second or so on two cores."""
MOST_LOGITS = 25_000_000
"""Elements of the unembedding's result, which bound its rows: 100 MB."""


class Probe:
    """``rows`` activations times one weight matrix, into a buffer, again and again."""

    def __init__(self, weight: Tensor, rows: int, *, least_flops: float = LEAST_FLOPS):
        self.weight = weight
        self.given = torch.randn(rows, weight.shape[0], dtype=weight.dtype, device=weight.device)
        self.result = self.given.new_empty(rows, weight.shape[1])
        flops = 2 * rows * weight.numel()
        self.times = max(1, math.ceil(least_flops / flops))
        self.flops = self.times * flops
        """Floating-point operations of one call."""

    def __call__(self) -> None:
        """Multiply."""
        for _ in range(self.times):
            torch.mm(self.given, self.weight, out=self.result)


def probes(
    engine: SuffixEngine, *, rows: int, square: int, least_flops: float = LEAST_FLOPS
) -> dict[str, Probe]:
    """A probe a shape, with the model's own weights as they lie in memory; names are ``product/ROWS x IN x OUT``."""
    vocabulary = unembedding(engine)
    large = torch.randn(square, square, device=engine.device, dtype=engine.model.dtype)
    found = [Probe(weight, rows, least_flops=least_flops) for weight in _distinct(engine)]
    most = max(1, MOST_LOGITS // vocabulary.shape[1])
    found.append(Probe(vocabulary, min(rows, most), least_flops=least_flops))
    found.append(Probe(large, square, least_flops=least_flops))
    return {
        f"product/{len(probe.given)} x {' x '.join(map(str, probe.weight.shape))}": probe for probe in found
    }


def _distinct(engine: SuffixEngine) -> list[Tensor]:
    return list({(w.shape, w.stride()): w for w in block_matrices(engine)}.values())


def best_rate(seconds: Mapping[str, Sequence[float]], probes: Mapping[str, Probe]) -> tuple[str, float]:
    """The probe with the highest median rate, and that rate in floating-point operations a second."""
    rates = {name: probe.flops / statistics.median(seconds[name]) for name, probe in probes.items()}
    best = max(rates, key=lambda name: rates[name])
    return best, rates[best]
