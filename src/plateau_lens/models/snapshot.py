"""What a model was like at a moment: what was proved of it, or made with it, holds for as long as it is like that."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

_ONLOOKERS = ("transformers.utils.output_capturing", "torch.utils.")
"""Where hooks come from that record or count and change nothing: transformers' of states, torch's of operations."""


class Snapshot:
    """Modules, hooks, training modes, weights and persistent buffers of a model, to be compared with what it is later.

    A comparison costs about a microsecond a module, and no device is asked for anything. It sees weights that were
    replaced or changed in place, by an optimiser or ``load_state_dict`` say; not what was written through ``.data``
    into the same memory, nor what a hook that stays does otherwise than before.

    Args:
        model: the model as it is now.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self._modules = list(model.modules())
        self._seen = [_seen(module) for module in self._modules]
        self._everywhere = _hooks_everywhere()
        configs = {id(c): c for m in self._modules if (c := m.__dict__.get("config")) is not None}
        self._configs = [(c, dict(vars(c))) for c in configs.values() if hasattr(c, "__dict__")]
        # What is seen of a tensor begins with its id, which is its own for as long as it lives.
        self._tensors = [weakref.ref(tensor) for module in self._modules for _, tensor in _tensors(module)]

    def change(self) -> str:
        """What is otherwise than at that moment, in a few words; empty if nothing is."""
        if _hooks_everywhere() != self._everywhere:
            return "hooks on all modules were added or removed"
        if any(vars(config) != seen for config, seen in self._configs):
            return "the configuration changed"
        for module, seen in zip(self._modules, self._seen, strict=True):
            if _seen(module) != seen:
                return self._told(module, seen)
        if any(tensor() is None for tensor in self._tensors):
            return "weights were replaced"
        return ""

    def _told(self, module: nn.Module, before: tuple[Hashable, ...]) -> str:
        names = {id(each): name for name, each in self.model.named_modules()}
        name = names.get(id(module)) or type(module).__name__
        now = _seen(module)
        which = next(i for i, (old, new) in enumerate(zip(before, now, strict=True)) if old != new)
        return f"{_WHAT[which]} of {name} changed"


def hooked(model: nn.Module) -> list[str]:
    """Names of the modules with hooks that may change what they give."""
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if any(_acting(module.__dict__[kind]) for kind in ("_forward_hooks", "_forward_pre_hooks"))
    ]


_WHAT = ("training mode", "hooks", "hooks", "forward", "parts", "weights", "buffers")
"""What `_seen` sees, in its order."""


def _seen(module: nn.Module) -> tuple[Hashable, ...]:
    own = module.__dict__
    # A module is equal to itself alone, and a hook's number is given once.
    return (
        module.training,
        _acting(own["_forward_hooks"]),
        _acting(own["_forward_pre_hooks"]),
        own.get("forward"),
        tuple(own["_modules"].values()),
        tuple([_mark(tensor) for tensor in own["_parameters"].values()]),
        tuple([_mark(tensor) for name, tensor in own["_buffers"].items() if _persists(module, name)])
        if own["_buffers"]
        else (),
    )


def _acting(hooks: Mapping[int, Any]) -> tuple[int, ...]:
    if not hooks:
        return ()
    return tuple(
        [
            key
            for key, hook in hooks.items()
            if not str(getattr(hook, "__module__", "")).startswith(_ONLOOKERS)
        ]
    )


def _hooks_everywhere() -> tuple[int, ...]:
    hooks = (getattr(torch_module, f"_global_forward_{kind}") for kind in ("hooks", "pre_hooks"))
    return tuple(key for each in hooks for key in _acting(each))


def _persists(module: nn.Module, buffer: str) -> bool:
    # Others are worked out as a model runs: rotary frequencies of a long prompt, say.
    return buffer not in module.__dict__["_non_persistent_buffers_set"]


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False, remove_duplicate=False)
    for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
        if _persists(module, name):
            yield name, buffer


def _mark(tensor: Tensor | None) -> Hashable:
    if tensor is None or tensor.is_meta:
        return None
    version = None if tensor.is_inference() else tensor._version
    return id(tensor), version, tensor.data_ptr(), tensor.dtype
