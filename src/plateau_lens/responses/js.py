"""JS: how much the next-token probabilities have changed, from 0 to 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from plateau_lens.responses.registry import Response, response

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@response("js")
class JS(Response):
    """Jensen-Shannon distance (square root, base 2) of next-token probabilities to step 0's, in [0, 1].

    0: equal distributions; 1: disjoint ones. Each token contributes
    ``m * ((1 + r) log(1 + r) + (1 - r) log(1 - r)) / 2`` with ``m`` the mean of both probabilities and ``r`` their
    difference over their sum: terms that are never negative, so that nothing cancels near 0.
    """

    symbol = "JS"
    title = "Jensen-Shannon distance of next-token probabilities"
    axis = "JS distance (0 to 1)"
    place = 30
    reads = "logits"
    least_slope = 1e-3
    noise = 3e-3

    def of(self, seen: Float[Tensor, "pair step vocab"]) -> Float[Tensor, "pair step"]:
        """From logits."""
        import torch

        from plateau_lens._devices import double, has_float64

        p = (seen - seen.logsumexp(dim=-1, keepdim=True)).exp_()
        p0 = p[:, :1].clone()
        total = p + p0
        r = torch.sub(p0, p, out=p).div_(total.clamp_min(torch.finfo(p.dtype).tiny))
        # (1 - r) log(1 - r) is 0 at r = 1, but 0 * inf in the computer; a hair inside is 0 to rounding.
        hair = torch.finfo(p.dtype).eps
        r.clamp_(-1 + hair, 1 - hair)
        terms = (1 + r).mul_(r.log1p())
        r.neg_()
        terms.addcmul_(1 + r, r.log1p()).mul_(total)
        # Of terms that are never negative, a float32 sum is good too.
        summed = terms.sum(dim=-1, dtype=torch.float64 if has_float64(terms.device) else None)
        divergence = double(summed) / (4 * math.log(2))
        return divergence.clamp(0, 1).sqrt()
