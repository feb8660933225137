"""The frozen prefix: keys and values of everything before the site's token, shared by all steps of a curve."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from plateau_lens._errors import EngineError
from plateau_lens.models.interventions import Stop

SCORES = {"cpu": 2**20}
"""Attention scores made at once: on a CPU what fits its caches."""


class FrozenLayer(CacheLayerMixin):
    """One block's prefix keys and values [pair, head, pos, d_head]; reading it never changes it."""

    is_sliding = False

    def __init__(self, keys: Tensor | None, values: Tensor | None, length: int, *, joined: bool):
        super().__init__()
        self.keys, self.values = keys, values
        self.length = length
        self.joined = joined
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Return the steps' own keys and values; behind the prefix's where ``joined``."""
        if not self.joined or self.keys is None or self.values is None:
            return key_states, value_states
        return torch.cat([self.keys, key_states], dim=-2), torch.cat([self.values, value_states], dim=-2)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: a frozen layer is born whole."""

    def get_seq_length(self) -> int:
        """Tokens of the prefix."""
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys a mask covers."""
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        """No maximum."""
        return -1


class FrozenPrefix(Cache):
    """A cache that hands each block its prefix and keeps nothing of what is fed to it.

    Args:
        n_pairs: prompts.
        length: tokens of a prefix.
        n_blocks: of the model.
        first_block: blocks before this one are skipped, so theirs is not kept.
        joined: whether ``update`` returns prefix and own keys in one tensor (models that bring their own
            attention), or the own ones alone, `current` telling the attention function where the rest is.
        dtype: what keys and values are kept in.
    """

    def __init__(
        self, n_pairs: int, length: int, *, n_blocks: int, first_block: int, joined: bool, dtype: torch.dtype
    ):
        super().__init__(layers=[FrozenLayer(None, None, length, joined=joined) for _ in range(n_blocks)])
        self.n_pairs, self.length = n_pairs, length
        self.first_block = first_block
        self.dtype = dtype
        self.current: FrozenLayer | None = None
        """Layer that was asked last: the one whose attention is being computed."""
        self.attended = 0
        """Times the steps' attention has read this prefix."""

    def keep(self, index: int, pairs: slice, keys: Tensor, values: Tensor) -> None:
        """Keep a block's keys and values of some of the pairs."""
        layer = self.layers[index]
        assert isinstance(layer, FrozenLayer)
        if index < self.first_block:
            return
        if layer.keys is None or layer.values is None:
            layer.keys, layer.values = (
                tensor.new_empty((self.n_pairs, *tensor.shape[1:]), dtype=self.dtype)
                for tensor in (keys, values)
            )
        layer.keys[pairs], layer.values[pairs] = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """See `FrozenLayer.update`."""
        layer = self.layers[layer_idx]
        assert isinstance(layer, FrozenLayer)
        self.current = layer
        return layer.update(key_states, value_states)

    def rows(self, pairs: slice) -> FrozenPrefix:
        """The same prefix for some of its pairs; views, no copies."""
        part = copy.copy(self)
        layers = [
            FrozenLayer(
                None if layer.keys is None else layer.keys[pairs],
                None if layer.values is None else layer.values[pairs],
                self.length,
                joined=layer.joined,
            )
            for layer in self.layers
            if isinstance(layer, FrozenLayer)
        ]
        part.layers = list(layers)
        part.n_pairs, part.current, part.attended = len(range(*pairs.indices(self.n_pairs))), None, 0
        return part


class PassOverPrefix(Cache):
    """The cache of one pass over some of the prefixes: it hands what it is given to a `FrozenPrefix`.

    It ends the pass (see `interventions.stoppable`) when the last block's keys and values are there: nothing
    that this block computes from them is needed. A sliding window drops nothing here; the attention applies it.
    """

    def __init__(self, frozen: FrozenPrefix, pairs: slice):
        super().__init__(layers=[FrozenLayer(None, None, 0, joined=False) for _ in frozen.layers])
        self.frozen, self.pairs = frozen, pairs

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Keep a block's keys and values, and return them."""
        self.frozen.keep(layer_idx, self.pairs, key_states, value_states)
        if layer_idx == len(self.layers) - 1:
            raise Stop
        return key_states, value_states


_ACTIVE: ContextVar[FrozenPrefix | None] = ContextVar("plateau_lens_prefix", default=None)


@contextmanager
def attending_to(prefix: FrozenPrefix) -> Generator[None]:
    """Make ``prefix`` the one that `step_attention` reads inside the block."""
    token = _ACTIVE.set(prefix)
    try:
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
    """``(sum_i exp(q k_i) v_i + exp(q k) v) / (sum_i exp(q k_i) + exp(q k))``, scores in place throughout."""
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
    if softcap is not None:
        to_past = to_past.div_(softcap).tanh_().mul_(softcap)
        to_self = softcap * torch.tanh(to_self / softcap)
    highest = torch.maximum(to_past.amax(-1, keepdim=True), to_self) if to_past.shape[-1] else to_self
    sink = None if s_aux is None else s_aux.reshape(1, -1, 1, 1).to(wide)
    if sink is not None:
        highest = torch.maximum(highest, sink)
    to_past = to_past.sub_(highest).exp_()
    to_self = (to_self - highest).exp_()
    total = to_past.sum(-1, keepdim=True) + to_self
    if sink is not None:
        total = total + (sink - highest).exp_()
    from_past = by_head(by_group(to_past.to(query.dtype)) @ past_value)
    return torch.addcmul(from_past.to(wide), to_self, own_value.to(wide)).div_(total).to(query.dtype)
