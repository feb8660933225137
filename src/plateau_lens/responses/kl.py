"""KL: how much the next-token probabilities have changed, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_lens.responses.registry import Response, response

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from plateau_lens.models.products import Products
    from plateau_lens.models.unembedding import Unembedding


@response("kl")
class KL(Response):
    """``KL(p(.|X[0]) || p(.|X[n]))`` of next-token probabilities, nats, >= 0.

    With ``p0 = softmax(logits[0])``: ``E_p0[log p_0] - E_p0[log p_n]``, from one log-sum-exp and one product with
    ``p0`` a step. In float32 it is good to about 1e-5 nats: the sums over the vocabulary are cascaded
    (`torch.linalg.vecdot`); a plain matrix product there is off by 1e-3. Source: arXiv 2409.15019v2, appendix C.
    """

    symbol = "KL"
    title = "KL divergence of next-token probabilities (nats)"
    axis = "KL divergence (nats)"
    unit = "nats"
    place = 20
    reads = "logits"
    least_slope = 1e-3
    noise = 1e-5

    def of(self, seen: Float[Tensor, "pair step vocab"]) -> Float[Tensor, "pair step"]:
        """From logits."""
        import torch

        from plateau_lens._devices import double

        log_z = seen.logsumexp(dim=-1)
        p0 = (seen[:, :1] - log_z[:, :1, None]).exp()
        expected_log_p = double(torch.linalg.vecdot(seen, p0)) - double(log_z)
        # Rounding can leave -1e-6 where the distributions are equal; the divergence itself is never negative.
        return (expected_log_p[:, :1] - expected_log_p).clamp_min(0)

    def fast(
        self, final: Float[Tensor, "pair step d_model"], unembedding: Unembedding, products: Products
    ) -> Float[Tensor, "pair step"] | None:
        """Where the unembedding is linear, from the change of the logits; see `Unembedding.kl`."""
        return unembedding.kl(final, products) if unembedding.linear else None
