"""Activation functions that transformers spells out in many operations and torch has in one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import nn

from plateau_lens.models import interventions


def spelled_out(model: nn.Module) -> list[nn.Module]:
    """The modules of ``model`` that compute GELU's tanh form, ``x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``."""
    from transformers.activations import FastGELUActivation, NewGELUActivation

    return [m for m in model.modules() if type(m) in (NewGELUActivation, FastGELUActivation)]


@contextmanager
def fused(activations: list[nn.Module]) -> Generator[None]:
    """Inside, each of `spelled_out` is torch's own kernel: the same function, in one pass over memory."""
    gelu = partial(nn.functional.gelu, approximate="tanh")
    with ExitStack() as stack:
        for module in activations:
            stack.enter_context(interventions.forwarding(module, gelu))
        yield
