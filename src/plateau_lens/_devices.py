"""What devices differ in: float64, which Apple's GPUs (MPS) do not have."""

from __future__ import annotations

import torch
from torch import Tensor

from plateau_lens._errors import ResourceError


def usable(device: str) -> torch.device:
    """The device of that name.

    Raises:
        ResourceError: if there is none, or nothing can be put on it here.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ResourceError(f"device {device!r} cannot be used here: {reason}; cpu always can") from error
    return found


def has_float64(device: torch.device) -> bool:
    """Whether tensors of float64 can be on the device."""
    return device.type != "mps"


def for_float64(device: torch.device) -> torch.device:
    """Where what is summed in float64 belongs: the device itself, or the CPU where the device has no float64."""
    return device if has_float64(device) else torch.device("cpu")


def double(tensor: Tensor) -> Tensor:
    """``tensor.double()``, on `for_float64` of its device."""
    return tensor.to(for_float64(tensor.device)).double()
