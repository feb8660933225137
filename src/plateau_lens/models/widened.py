"""A model in wider numbers than its weights', one block widened at a time: the method without its rounding."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from plateau_lens.models import interventions
from plateau_lens.models.attention import SETTING
from plateau_lens.models.products import Products, float32_products

EXPERTS = "_experts_implementation_internal"
"""Where a configuration of transformers says how experts are computed."""


class Widened(Products):
    """Computes in float32 at least and to its last digit, whatever the weights are kept in.

    Each block's weights, and each other module's, are wide for as long as its ``forward`` runs, so that no more than
    one block's are in memory twice. A model that is wide enough is left as it is.

    Args:
        model: the model; it is left as it is outside `computing`.
        decoder: the part of it that owns the blocks.
        blocks: its blocks.
        least: type that is wide enough.
    """

    def __init__(
        self,
        model: nn.Module,
        decoder: nn.Module,
        blocks: nn.ModuleList,
        least: torch.dtype = torch.float32,
    ):
        super().__init__(model)
        self.least = least
        self.decoder = decoder
        inside = {module for block in blocks for module in block.modules()}
        own = [module for module in model.modules() if module not in inside]
        self._units = [*blocks, *(module for module in own if _narrow(module, least))]

    @property
    def dtype(self) -> torch.dtype:
        """What the residual stream is computed in."""
        return torch.promote_types(super().dtype, self.least)

    @contextmanager
    def computing(self) -> Generator[None]:
        """See `Products.computing`."""
        with ExitStack() as stack:
            if self.device_type == "cuda":
                stack.enter_context(float32_products())
            if self.dtype != super().dtype:
                for setting, value in _kernels(self.decoder):
                    stack.enter_context(interventions.configured(self.decoder, setting, value))
                for unit in self._units:
                    stack.enter_context(interventions.forwarding(unit, _wide(unit, self.least)))
            else:
                stack.enter_context(super().computing())
            yield

    @contextmanager
    def holding(self, module: nn.Module | None) -> Generator[None]:
        """See `Products.holding`."""
        with nullcontext() if module is None else _wide_weights(module, self.least):
            yield


def _kernels(decoder: nn.Module) -> Iterator[tuple[str, str]]:
    """Settings that have a decoder do without what computes in some types alone: flash attention, grouped products."""
    config = getattr(decoder, "config", None)
    if "flash" in (getattr(config, SETTING, None) or ""):
        yield SETTING, "sdpa"
    if getattr(config, EXPERTS, None) is not None:
        yield EXPERTS, "eager"


def _wide(module: nn.Module, least: torch.dtype) -> Callable[..., Any]:
    forward = module.forward

    def wide(*args: Any, **kwargs: Any) -> Any:
        with _wide_weights(module, least):
            return forward(*args, **kwargs)

    return wide


@contextmanager
def _wide_weights(module: nn.Module, least: torch.dtype) -> Generator[None]:
    narrow = [
        (kept, name, tensor) for part in module.modules() for kept, name, tensor in _narrow(part, least)
    ]
    try:
        for kept, name, tensor in narrow:
            wide = tensor.detach().to(least)
            kept[name] = nn.Parameter(wide, requires_grad=False) if isinstance(tensor, nn.Parameter) else wide
        yield
    finally:
        for kept, name, tensor in narrow:
            kept[name] = tensor


def _narrow(module: nn.Module, least: torch.dtype) -> list[tuple[dict[str, Tensor | None], str, Tensor]]:
    """A module's own floating-point tensors of fewer bits than ``least``, and where it keeps them."""
    return [
        (kept, name, tensor)
        for kept in (module.__dict__["_parameters"], module.__dict__["_buffers"])
        for name, tensor in kept.items()
        if tensor is not None and tensor.is_floating_point() and tensor.dtype.itemsize < least.itemsize
    ]
