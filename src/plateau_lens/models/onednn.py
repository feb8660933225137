"""Products with a model's weights by oneDNN, on processors where torch's own float32 products (MKL's) are slower."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

VENDORS = ("AuthenticAMD",)
"""Makers of processors on which oneDNN was measured to be faster: products of the suffix's shapes 1.1 to 1.2 times."""


@functools.cache
def available() -> bool:
    """Whether this processor gains by oneDNN, and this torch has it and computes with it what it should."""
    if not torch.backends.mkldnn.is_available() or not any(vendor in _processor() for vendor in VENDORS):
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(n, 48, generator=generator) for n in (5, 64, 1))
    weight, bias = weight / 7, weight[:, 0].contiguous() + bias[0, 0]
    # Weights lie in memory as [out, in] or, in a Conv1D, as [in, out].
    for laid_out in (weight, weight.T.contiguous().T):
        for added in (bias, None):
            wanted = nn.functional.linear(x, weight, added)
            try:
                found = product(x, laid_out, added)
            except (RuntimeError, AttributeError, TypeError):  # the operator is torch's own affair
                return False
            if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-4, atol=1e-4):
                return False
    return True


def usable(weight: Tensor) -> bool:
    """Whether `product` takes these weights. It has no gradient."""
    wide = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.layout == torch.strided
    return wide and type(weight) in (Tensor, nn.Parameter) and not torch.is_grad_enabled() and available()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weight^T + bias``, as `torch.nn.functional.linear`; weights [out, in]."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def stand_in(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """A ``forward`` by oneDNN for a layer that is a product with its weights and nothing else; None for others."""
    from transformers.pytorch_utils import Conv1D

    layer: Any = module
    if "forward" in module.__dict__ or type(module) not in (nn.Linear, Conv1D) or not usable(layer.weight):
        return None
    if type(module) is nn.Linear:
        return lambda x: product(x, layer.weight, layer.bias)
    return lambda x: product(x, layer.weight.T, layer.bias)


@functools.cache
def _processor() -> str:
    """Whatever names its maker."""
    listing = Path("/proc/cpuinfo")
    return listing.read_text() if listing.is_file() else platform.processor()
