"""Attention of parallel steps: each sees the frozen prefix and itself, never another step."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface

from plateau_lens._errors import EngineError
from plateau_lens.models import interventions
from plateau_lens.models.prefix import FrozenPrefix

ATTENTION = "plateau_lens_steps"
"""Name under which `step_attention` is registered with transformers."""
SCORES = {"cpu": 2**20}
"""Attention scores made at once: on a CPU what fits its caches."""

SETTING = "_attn_implementation_internal"
"""Where a configuration of transformers says which attention is used; the public way sets the parts' as well."""

_ACTIVE: ContextVar[FrozenPrefix | None] = ContextVar("plateau_lens_prefix", default=None)


@contextmanager
def attending_to(decoder: nn.Module, prefix: FrozenPrefix) -> Generator[None]:
    """Inside, `step_attention` over ``prefix`` is the decoder's attention; behind it, its own is again."""
    AttentionInterface.register(ATTENTION, step_attention)
    token = _ACTIVE.set(prefix)
    try:
        with interventions.configured(decoder, SETTING, ATTENTION):
            yield
    finally:
        _ACTIVE.reset(token)


def step_attention(
    module: torch.nn.Module,
    query: Float[Tensor, "pair head step d_head"],
    key: Float[Tensor, "pair kv_head step d_head"],
    value: Float[Tensor, "pair kv_head step d_value"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Float[Tensor, "pair step head d_value"], None]:
    """Attention of parallel steps: each attends to the prefix and to itself, never to another step.

    ``O(steps * n_ctx)`` scores a head instead of a ``steps x steps`` mask. Softmax in float32 or wider.

    Args:
        module: the attention module; part of transformers' interface, named in errors.
        query: queries of the steps.
        key: the steps' own keys (the prefix's come from the active `FrozenPrefix`).
        value: the steps' own values.
        attention_mask: None; transformers makes no mask for an attention function it does not know.
        scaling: factor on the scores, 1/sqrt(d_head) if None.
        sliding_window: tokens a query sees, itself included.
        softcap: scores become ``softcap * tanh(scores / softcap)`` (Gemma 2).
        s_aux: one extra logit a head that takes up probability (attention sinks).

    Raises:
        RuntimeError: outside `attending_to`.
        EngineError: for a module that masks by rules of its own.
    """
    prefix = _ACTIVE.get()
    if (
        prefix is None
        or prefix.current is None
        or prefix.current.keys is None
        or prefix.current.values is None
    ):
        raise RuntimeError("step_attention needs an active prefix")
    if attention_mask is not None:
        raise EngineError(
            f"{type(module).__name__} brings a mask of its own making, which parallel steps cannot be put under"
        )
    prefix.attended += 1
    past_key, past_value = prefix.current.keys, prefix.current.values
    if sliding_window is not None:
        first = max(0, past_key.shape[-2] - (sliding_window - 1))
        past_key, past_value = past_key[..., first:, :], past_value[..., first:, :]
    factor: float = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores_a_pair = query.shape[1] * query.shape[2] * past_key.shape[-2]
    pairs_a_piece = max(1, SCORES.get(query.device.type, 2**26) // max(1, scores_a_pair))
    with torch.autocast(query.device.type, enabled=False):
        # Where products with weights are narrower than the model, these are not.
        tensors = (query.to(past_key), key.to(past_key), value.to(past_key), past_key, past_value)
        pieces = zip(*(tensor.split(pairs_a_piece) for tensor in tensors), strict=True)
        parts = [_attend(*piece, factor=factor, softcap=softcap, s_aux=s_aux) for piece in pieces]
    out = torch.cat(parts) if len(parts) > 1 else parts[0]
    # Contiguous, as transformers' own attention functions return it: some models `view` it.
    return out.transpose(1, 2).contiguous(), None


def _attend(
    query: Float[Tensor, "pair head step d_head"],
    key: Float[Tensor, "pair kv_head step d_head"],
    value: Float[Tensor, "pair kv_head step d_value"],
    past_key: Float[Tensor, "pair kv_head pos d_head"],
    past_value: Float[Tensor, "pair kv_head pos d_value"],
    *,
    factor: float,
    softcap: float | None,
    s_aux: Tensor | None,
) -> Float[Tensor, "pair head step d_value"]:
    """``(sum_i exp(q k_i) v_i + exp(q k) v) / (sum_i exp(q k_i) + exp(q k))``, scores in place throughout.

    Where a graph is recorded, what it needs later is left as it is.
    """
    pairs, heads, steps, _ = query.shape
    groups = heads // key.shape[1]
    wide = torch.promote_types(query.dtype, torch.float32)

    def by_group(per_head: Tensor) -> Tensor:
        # [pair, head, step, x] -> [pair, kv_head, heads of the group * step, x]
        return per_head.reshape(pairs, past_key.shape[1], -1, per_head.shape[-1])

    def by_head(per_group: Tensor) -> Tensor:
        return per_group.reshape(pairs, heads, steps, -1)

    to_past = by_head(by_group(query) @ past_key.transpose(-1, -2)).to(wide).mul_(factor)
    own_key, own_value = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (key, value))
    to_self = (query * own_key).sum(-1, keepdim=True).to(wide).mul_(factor)
    recorded = torch.is_grad_enabled()
    if softcap is not None:
        to_past = to_past.div_(softcap).tanh_()
        to_past = torch.mul(to_past, softcap, out=None if recorded else to_past)
        to_self = softcap * torch.tanh(to_self / softcap)
    highest = torch.maximum(to_past.amax(-1, keepdim=True), to_self) if to_past.shape[-1] else to_self
    sink = None if s_aux is None else s_aux.reshape(1, -1, 1, 1).to(wide)
    if sink is not None:
        highest = torch.maximum(highest, sink)
    highest = highest.detach()  # the result does not depend on it
    to_past = to_past.sub_(highest).exp_()
    to_self = (to_self - highest).exp_()
    total = to_past.sum(-1, keepdim=True) + to_self
    if sink is not None:
        total = total + (sink - highest).exp_()
    from_past = by_head(by_group(to_past.to(query.dtype)) @ past_value)
    summed = torch.addcmul(from_past.to(wide), to_self, own_value.to(wide))
    return torch.div(summed, total, out=None if recorded else summed).to(query.dtype)
