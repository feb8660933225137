"""A device without float64 (MPS): none is made there, and what has to be float64 is made on the CPU.

No such device is at hand. In torch's fake mode, tensors have shapes, types and devices but no values, and mixing
devices is an error; its ``meta`` device plays the one without float64.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plateau_lens import ConfigError, ResourceError, SuffixEngine, load_model
from plateau_lens import _devices as devices
from plateau_lens._devices import double, for_float64
from plateau_lens.models.snapshot import Snapshot
from plateau_lens.prompts import sampled

TOKENS, STEPS = (3, 8), 5


class NoFloat64(TorchDispatchMode):
    """Refuses what the simulated device cannot do."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and made.is_meta and made.dtype == torch.float64:
                raise TypeError(f"{func} made float64 on a device that has none")
        return result


@pytest.fixture
def without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_float64(device: torch.device) -> bool:
        return device.type != "meta"

    monkeypatch.setattr(devices, "has_float64", has_float64)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # meta has none


def moved(model: Any) -> None:
    """The model's tensors as fake ones on the simulated device."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
                    tensors[name] = torch.nn.Parameter(empty, requires_grad=False)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gptj"])
def test_a_device_without_float64_is_asked_for_none(
    architecture: str, make_tiny_model: Callable[..., Any], without_float64: None
):
    engine = SuffixEngine(make_tiny_model(architecture), max_rows=64)
    tokens, points = torch.zeros(TOKENS, dtype=torch.long), torch.ones(TOKENS[0], STEPS, engine.d_model)
    # The engine proves itself by comparing values, which fake tensors do not have.
    engine.respond(engine.prefix(tokens), points, ("l2", "kl", "js"))
    with FakeTensorMode():
        moved(engine.model)
        engine._proved_of = Snapshot(
            engine.model
        )  # or it would see that the weights are others, and try them
        tokens = torch.zeros(TOKENS, dtype=torch.long)
        with NoFloat64():
            assert engine.site_activations(tokens).device.type == "meta"
            prefix, points = engine.prefix(tokens), torch.empty(TOKENS[0], STEPS, engine.d_model)
            for wanted in (("l2", "kl"), ("l2", "kl", "js")):
                for found in engine.respond(prefix, points, wanted).values():
                    assert found.device.type == "cpu"
                    assert found.dtype == torch.float64
                    assert found.shape == (TOKENS[0], STEPS)


def test_the_simulation_sees_float64(without_float64: None):
    with FakeTensorMode(), NoFloat64():
        on_device = torch.empty(2, device="meta")
        assert double(on_device).device.type == "cpu"
        with pytest.raises(TypeError, match="device that has none"):
            on_device.double()


def test_prompts_are_drawn_without_it(without_float64: None):
    with FakeTensorMode(), NoFloat64():
        drawn = sampled._draw(torch.empty(4, 50, device="meta"), torch.empty(4, 1, dtype=torch.float64), 1.0)
        assert drawn.shape == (4, 1)


def test_mps_keeps_float64_on_the_cpu():
    assert for_float64(torch.device("mps")) == torch.device("cpu")
    assert for_float64(torch.device("cuda:1")) == torch.device("cuda:1")


def test_mps_is_had_by_name_and_not_in_float64(tiny_model_folder: Path):
    with pytest.raises(ConfigError, match=r"mps.*no float64.*float32"):
        load_model(str(tiny_model_folder), device="mps", dtype="float64")
    if not torch.backends.mps.is_available():
        with pytest.raises(ResourceError, match="'mps' cannot be used here"):
            load_model(str(tiny_model_folder), device="mps")
