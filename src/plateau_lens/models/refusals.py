"""Why a model cannot be driven, as far as the model itself tells; no architecture is named here either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plateau_lens._errors import EngineError
from plateau_lens.models.snapshot import hooked

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


def not_finite(model: nn.Module) -> str:
    """Names of weights that hold NaN or infinity; empty if none does."""
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    return ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")


def refuse_training(model: nn.Module) -> None:
    """Refuse a model any part of which is in training mode, whose dropout makes every pass another.

    Raises:
        EngineError: naming the first such part.
    """
    for name, module in model.named_modules():
        if module.training:
            part = f" (in {name})" if name else ""
            raise EngineError(
                f"{type(model).__name__} is in training mode{part}, in which dropout makes every pass another; "
                "call model.eval() first"
            )


def refuse_quantised(model: nn.Module, blocks: nn.ModuleList) -> None:
    """Refuse blocks whose weights are not plain floating-point numbers of 16 bits or more.

    Raises:
        EngineError: naming the first weight that is none, or saying that there are none.
    """
    matrices = 0
    for name, weight in [*blocks.named_parameters(), *blocks.named_buffers()]:
        if weight.dim() < 2 or weight.dtype == torch.bool:
            continue
        plain = type(weight) in (Tensor, nn.Parameter) and weight.is_floating_point()
        if not plain or weight.dtype.itemsize < 2:
            raise EngineError(_quantised(model, f"block {name} is kept in {weight.dtype}"))
        matrices += 1
    if not matrices:
        raise EngineError(_quantised(model, "its blocks have no matrix of floating-point weights"))


def _quantised(model: nn.Module, found: str) -> str:
    return (
        f"{type(model).__name__} is quantised ({found}), so that what a token gives can depend on the others of its "
        "batch; load it without quantisation, or call model.dequantize()"
    )


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
    hooks = hooked(model)
    if hooks:
        return (
            f"with the hooks on {', '.join(hooks[:3])}{', ...' if len(hooks) > 3 else ''} parallel steps do not give "
            "what the model gives for each step alone; a hook has to treat all positions of all rows alike"
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
