"""A graph from the points alone: what torch.autograd needs for the gradient of whatever is measured behind them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def recorded(model: nn.Module, wanted: bool) -> Generator[None]:
    """Inside, operations are recorded if that is ``wanted``; weights are constants, whatever they are outside."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad] if wanted else []
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with torch.set_grad_enabled(wanted):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
