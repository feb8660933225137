"""Why a model cannot be driven, as far as the model itself tells; no architecture is named here either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


def not_finite(model: nn.Module) -> str:
    """Names of weights that hold NaN or infinity; empty if none does."""
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    return ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")


def refusal(model: PreTrainedModel, decoder: nn.Module, base: Tensor) -> str:
    """The reason why parallel steps do not give what the model gives for each step alone.

    Args:
        model: a causal language model that runs, but under neither of the engine's attentions.
        decoder: the part of it that owns the blocks.
        base: what its site's block was given for the last token of one prompt.
    """
    from transformers import DynamicCache

    d_model = model.config.get_text_config().hidden_size
    if base.shape != (1, d_model):
        return f"its blocks hand on {tuple(base.shape)} numbers a token, not one residual stream of {d_model}"
    kept = _not_keys_alone(DynamicCache(config=model.config))
    if kept:
        return f"{kept}, while a prompt's prefix is kept here as keys and values"
    if any("alibi" in name.lower() and getattr(decoder, name) for name in dir(decoder)):
        return (
            "its attention is biased by a key's place in the row (ALiBi), and parallel steps have one place each "
            "though they stand at one position"
        )
    return (
        "neither through transformers' attention interface nor under a plain 4-D mask do parallel steps give what "
        "the model gives for each step alone (it makes a mask of its own, or keeps the past in a way of its own)"
    )


def _not_keys_alone(cache: Cache) -> str:
    """What blocks keep of the past other than own keys and values; empty if nothing, as transformers plans it."""
    from transformers.cache_utils import (
        DummyLayer,
        DynamicLayer,
        DynamicSlidingWindowLayer,
        LinearAttentionLayer,
    )

    state = [i for i, layer in enumerate(cache.layers) if isinstance(layer, LinearAttentionLayer)]
    if state:
        return f"{_blocks(state)} a running state (state-space, linear attention or convolution)"
    shared = [i for i, layer in enumerate(cache.layers) if isinstance(layer, DummyLayer)]
    if shared:
        return f"{_blocks(shared)} no keys and values of their own (they share another block's, or have no attention)"
    other = [
        i
        for i, layer in enumerate(cache.layers)
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer)
    ]
    if other:
        return f"{_blocks(other)} more than keys and values ({type(cache.layers[other[0]]).__name__})"
    return ""


def _blocks(indices: list[int]) -> str:
    named = ", ".join(map(str, indices[:3])) + (", ..." if len(indices) > 3 else "")
    return f"block {named} keeps" if len(indices) == 1 else f"blocks {named} keep"
