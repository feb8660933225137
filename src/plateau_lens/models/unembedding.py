"""From final hidden states to next-token probabilities: logits the model's own way, KL without keeping any."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plateau_lens._devices import double
from plateau_lens._errors import EngineError
from plateau_lens.models import interventions
from plateau_lens.models.products import Products

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BLOCK_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}
"""Logits held at once: on a CPU what fits the caches, elsewhere what keeps the device busy."""
_LINEAR_LIMIT = {torch.float64: 1e-9, torch.float32: 1e-4}


class Unembedding:
    """Final (normed) hidden states to logits, and to the divergence of next-token probabilities from step 0.

    Args:
        model: whose unembedding it is.
        decoder: the model less its unembedding, see `plateau_lens.models.interventions.decoder_of`.
    """

    def __init__(self, model: PreTrainedModel, decoder: nn.Module):
        self.model = model
        self.decoder = decoder
        self._output: Any = None
        self.linear = False
        """Whether logits are the output embedding's product and nothing else: no soft cap, no scale."""

    def learn(self, output: Any, products: Products) -> None:
        """Remember the shape of the decoder's output object, and find out whether the unembedding is linear.

        Args:
            output: what the decoder returned.
            products: how it was computed.
        """
        self._output, self.linear = output, False
        layer = self.model.get_output_embeddings()
        if not isinstance(layer, nn.Linear):
            return
        hidden = output.last_hidden_state[:, -1:]
        # At a thousandfold a soft cap shows, also in a model whose logits are small.
        probe = torch.cat([hidden, 1000 * hidden], dim=1)
        with products.computing(), products.holding(layer):
            wanted = self.logits(probe)
            # By what `kl` multiplies with, not by the layer: one with a forward, or a hook, of its own may do more.
            product = nn.functional.linear(probe, layer.weight, layer.bias).to(wanted)
        error = (product - wanted).abs().amax(-1) / wanted.abs().amax(-1)
        self.linear = bool((error <= _LINEAR_LIMIT[products.dtype]).all())

    def logits(self, hidden: Float[Tensor, "pair step d_model"]) -> Float[Tensor, "pair step vocab"]:
        """Logits, float32 or wider, exactly as the model makes them (soft caps, scales, biases and all).

        The model's own ``forward`` is run with its decoder replaced by a stand-in that returns the given states.
        """
        output = copy.copy(self._output)
        output.last_hidden_state = hidden
        if "past_key_values" in output:
            output.past_key_values = None

        calls: list[None] = []

        def stand_in(*_: Any, **__: Any) -> Any:
            calls.append(None)
            return output

        with interventions.forwarding(self.decoder, stand_in):
            ids = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
            logits = self.model(input_ids=ids, use_cache=False).logits
        if len(calls) != 1:
            raise EngineError(
                f"{type(self.model).__name__} called its decoder {len(calls)} times for one unembedding"
            )
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def kl(
        self, hidden: Float[Tensor, "pair step d_model"], products: Products
    ) -> Float[Tensor, "pair step"]:
        """``KL(p(.|X[0]) || p(.|X[n]))`` in nats through a linear unembedding ``W``, a block of tokens at a time.

        With ``d[n] = W (h[n] - h[0])``, the change of the logits, and ``p0`` the probabilities of step 0::

            KL = log sum_v p0[v] exp(d[n, v]) - sum_v p0[v] d[n, v]

        Made of changes, it is good to about 1e-6 nats in float32, 1e-5 where logits themselves are near 100, and
        no more than `BLOCK_ELEMENTS` logits exist at a time.

        Raises:
            EngineError: for an unembedding that is not `linear`.
        """
        if not self.linear:
            raise EngineError(f"the unembedding of {type(self.model).__name__} is not a matrix product")
        layer = self.model.get_output_embeddings()
        assert isinstance(layer, nn.Linear)
        weight, bias = products.weight_of(layer), cast("Tensor | None", layer.bias)
        pairs, steps, d_model = hidden.shape
        wide = torch.promote_types(hidden.dtype, torch.float32)
        # The change of step 0 is 0. Its row carries the base's own state, so that one product gives both; in
        # narrow products, whose changes are good to a hundredth, the base's logits are made apart, in full.
        base, rows = hidden[:, 0], hidden - hidden[:, :1]
        shared = weight is layer.weight
        if shared:
            rows[:, 0] = base
        rows = rows.reshape(-1, d_model).to(weight.dtype)
        width = max(128, BLOCK_ELEMENTS.get(hidden.device.type, 2**24) // len(rows) // 128 * 128)
        width = min(width, len(weight))
        blocks = [slice(start, start + width) for start in range(0, len(weight), width)]
        # Of each block of tokens, relative to its largest logit of step 0: the sum of the probabilities of step 0,
        # their sum times the change, and the logarithm of the sum of each step's.
        peaks, sums, changes, log_sums = ([] for _ in range(4))
        for tokens in blocks:
            d = products.product(rows, weight[tokens]).to(wide).view(pairs, steps, -1)
            logits = d[:, 0].clone() if shared else nn.functional.linear(base, layer.weight[tokens]).to(wide)
            if bias is not None:
                logits += bias[tokens]
            d[:, 0] = 0
            peak = logits.amax(dim=-1, keepdim=True)
            logits -= peak
            p = logits.exp()
            peaks.append(peak[:, 0])
            sums.append(p.sum(dim=-1))
            # A row times a matrix: the same sums, the other way round, take four times as long.
            changes.append((p[:, None] @ d.mT)[:, 0])
            log_sums.append(_logsumexp_(d.add_(logits[:, None])))
        peak = double(torch.stack(peaks))
        log_total = (peak + double(torch.stack(sums)).log()).logsumexp(dim=0)
        share = (peak - log_total).exp()
        mean_change = (share[..., None] * double(torch.stack(changes))).sum(dim=0)
        kl = ((peak - log_total)[..., None] + double(torch.stack(log_sums))).logsumexp(dim=0) - mean_change
        # Rounding can leave -1e-7 where the distributions are equal; the divergence itself is never negative.
        return (kl - kl[:, :1]).clamp_min(0)


def _logsumexp_(x: Tensor) -> Tensor:
    """`torch.logsumexp` over the last dimension, using ``x`` itself for what is in between."""
    highest = x.amax(dim=-1, keepdim=True)
    return x.sub_(highest).exp_().sum(dim=-1).log_().add_(highest[..., 0])
