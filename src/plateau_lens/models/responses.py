"""Responses: how far the model's output has moved from the unperturbed base, step by step."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from plateau_lens._devices import double, has_float64


def l2_response(read_out: Float[Tensor, "pair step d_model"]) -> Float[Tensor, "pair step"]:
    """``|F(X[n]) - F(X[0])|`` at the read site, residual-stream units, >= 0; summed in float64."""
    return torch.linalg.vector_norm(double(read_out - read_out[:, :1]), dim=-1)


def kl_response(logits: Float[Tensor, "pair step vocab"]) -> Float[Tensor, "pair step"]:
    """``KL(p(.|X[0]) || p(.|X[n]))`` of next-token probabilities, nats, >= 0.

    With ``p0 = softmax(logits[0])``: ``E_p0[log p_0] - E_p0[log p_n]``, from one log-sum-exp and one product
    with ``p0`` a step. In float32 it is good to about 1e-5 nats: the sums over the vocabulary are cascaded
    (`torch.linalg.vecdot`); a plain matrix product there is off by 1e-3.
    """
    log_z = logits.logsumexp(dim=-1)
    p0 = (logits[:, :1] - log_z[:, :1, None]).exp()
    expected_log_p = double(torch.linalg.vecdot(logits, p0)) - double(log_z)
    # Rounding can leave -1e-6 where the distributions are equal; the divergence itself is never negative.
    return (expected_log_p[:, :1] - expected_log_p).clamp_min(0)


def js_response(logits: Float[Tensor, "pair step vocab"]) -> Float[Tensor, "pair step"]:
    """Jensen-Shannon distance (square root, base 2) of next-token probabilities to step 0's, in [0, 1].

    0: equal distributions; 1: disjoint ones. Each token contributes
    ``m * ((1 + r) log(1 + r) + (1 - r) log(1 - r)) / 2`` with ``m`` the mean of both probabilities and
    ``r`` their difference over their sum: terms that are never negative, so that nothing cancels near 0.
    """
    p = (logits - logits.logsumexp(dim=-1, keepdim=True)).exp_()
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
