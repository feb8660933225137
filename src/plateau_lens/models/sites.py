"""Sites: places in the residual stream, in the field's names, on any Hugging Face decoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plateau_lens._errors import ConfigError, EngineError, nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

HOOKS = ("hook_resid_pre", "hook_resid_post")
_PATTERN = re.compile(r"blocks\.(\d+|last)\.(\w+)")


@dataclass(frozen=True)
class Site:
    """The residual stream before (``hook_resid_pre``) or after (``hook_resid_post``) one block."""

    block: int
    hook: str

    @classmethod
    def parse(cls, name: str, *, n_blocks: int) -> Site:
        """Read ``blocks.L.hook_resid_pre`` or ``blocks.L.hook_resid_post``; an ``L`` of ``last`` is the last block.

        Raises:
            ConfigError: naming the legal range, and the nearest legal name.
        """
        match = _PATTERN.fullmatch(name)
        legal = f"blocks.L.hook_resid_pre and blocks.L.hook_resid_post with L in 0..{n_blocks - 1} or last"
        if match is None or match[2] not in HOOKS:
            candidates = [f"blocks.{match[1] if match else 0}.{hook}" for hook in HOOKS]
            raise ConfigError(f"unknown site {name!r}{nearest(name, candidates)}; legal: {legal}")
        block = n_blocks - 1 if match[1] == "last" else int(match[1])
        if block >= n_blocks:
            raise ConfigError(
                f"site {name!r} is beyond this model, which has {n_blocks} blocks; legal: {legal}"
            )
        return cls(block, match[2])

    @property
    def boundary(self) -> int:
        """Index of the gap between blocks, 0 (before the first) to n_blocks (after the last)."""
        return self.block + (self.hook == "hook_resid_post")

    def __str__(self) -> str:
        return f"blocks.{self.block}.{self.hook}"


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The model's list of transformer blocks, found by its length ``config.num_hidden_layers``.

    Raises:
        EngineError: if there is no such list, or more than one (an encoder-decoder).
    """
    from torch import nn

    if model.config.is_encoder_decoder:
        raise EngineError(
            f"{type(model).__name__} is an encoder-decoder: what it says depends on a second text; plateau-lens drives "
            "decoder-only models"
        )
    n_blocks = model.config.get_text_config().num_hidden_layers
    found = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == n_blocks
        and len({type(b) for b in module}) <= 2
    ]
    outer = [m for m in found if not any(m is not o and any(m is s for s in o.modules()) for o in found)]
    if len(outer) != 1:
        raise EngineError(
            f"{type(model).__name__} has {len(outer)} lists of {n_blocks} blocks, expected one; "
            "plateau-lens drives decoder-only models with one stack of blocks"
        )
    return outer[0]
