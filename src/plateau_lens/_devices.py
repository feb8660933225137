"""What devices differ in: float64, which Apple's GPUs (MPS) do not have."""

from __future__ import annotations

import torch
from torch import Tensor


def has_float64(device: torch.device) -> bool:
    """Whether tensors of float64 can be on the device."""
    return device.type != "mps"


def for_float64(device: torch.device) -> torch.device:
    """Where what is summed in float64 belongs: the device itself, or the CPU where the device has no float64."""
    return device if has_float64(device) else torch.device("cpu")


def double(tensor: Tensor) -> Tensor:
    """``tensor.double()``, on `for_float64` of its device."""
    return tensor.to(for_float64(tensor.device)).double()
