"""The frozen prefix: keys and values of everything before the site's token, shared by all steps of a curve."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from plateau_lens._errors import EngineError


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
        past: the cache of an ordinary forward pass over the prefix.
        first_block: blocks before this one are skipped, so theirs is dropped.
        joined: whether ``update`` returns prefix and own keys in one tensor (models that bring their own
            attention), or the own ones alone, `current` telling the attention function where the rest is.
    """

    def __init__(self, past: Cache, *, first_block: int, joined: bool):
        length = past.get_seq_length(first_block)
        layers = [
            FrozenLayer(
                getattr(layer, "keys", None) if index >= first_block else None,
                getattr(layer, "values", None) if index >= first_block else None,
                length,
                joined=joined,
            )
            for index, layer in enumerate(past.layers)
        ]
        super().__init__(layers=list(layers))
        self.length = length
        self.current: FrozenLayer | None = None
        """Layer that was asked last: the one whose attention is being computed."""
        self.attended = 0
        """Times the steps' attention has read this prefix."""

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
        part = object.__new__(FrozenPrefix)
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
        Cache.__init__(part, layers=list(layers))
        part.length, part.current, part.attended = self.length, None, 0
        return part


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
    pairs, heads, steps, _d = query.shape
    factor: float = query.shape[-1] ** -0.5 if scaling is None else scaling

    def grouped(per_head: Tensor, keys: Tensor) -> Tensor:
        # [pair, head, step, x] -> [pair, kv_head, heads of the group * step, x]
        return per_head.reshape(pairs, keys.shape[1], -1, per_head.shape[-1])

    to_past = (grouped(query, past_key) @ past_key.transpose(-1, -2)).reshape(pairs, heads, steps, -1)
    own_key = key.repeat_interleave(heads // key.shape[1], dim=1) if key.shape[1] != heads else key
    to_self = (query * own_key).sum(-1, keepdim=True)
    scores = torch.cat([to_past, to_self], dim=-1) * factor
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if s_aux is not None:
        sink = s_aux.reshape(1, -1, 1, 1).expand(pairs, -1, steps, -1).to(scores.dtype)
        scores = torch.cat([scores, sink], dim=-1)
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = scores.softmax(dim=-1, dtype=wide).to(query.dtype)
    n_past = past_key.shape[-2]
    from_past = (grouped(weights[..., :n_past], past_value) @ past_value).reshape(pairs, heads, steps, -1)
    own_value = value.repeat_interleave(heads // value.shape[1], dim=1) if value.shape[1] != heads else value
    out = torch.addcmul(from_past, weights[..., n_past : n_past + 1], own_value)
    # Contiguous, as transformers' own attention functions return it: some models `view` it.
    return out.transpose(1, 2).contiguous(), None
