"""The frozen prefix: keys and values of everything before the site's token, shared by all steps of a curve."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from plateau_lens.models.interventions import Stop


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

    def rows(self, pairs: slice | Tensor) -> FrozenPrefix:
        """The same prefix for some of its pairs; views of a slice or of indices that are one, else copies."""
        if isinstance(pairs, Tensor):
            first, n = int(pairs[0]), len(pairs)
            if torch.equal(pairs.cpu(), torch.arange(first, first + n)):
                pairs = slice(first, first + n)
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
        part.n_pairs = len(pairs if isinstance(pairs, Tensor) else range(*pairs.indices(self.n_pairs)))
        part.current, part.attended = None, 0
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
