"""Sites: places along the residual stream, in the field's names, on any Hugging Face decoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plateau_lens._errors import ConfigError, EngineError, nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

HOOKS = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
"""TransformerLens' names of the places in a block, in the order of the stream."""
_NAMES = (
    re.compile(rf"blocks\.(?P<block>\d+|last)\.(?P<hook>{'|'.join(HOOKS)})"),
    re.compile(rf"(?P<short>{'|'.join(hook.removeprefix('hook_') for hook in HOOKS)})\.(?P<block>\d+|last)"),
    re.compile(r"(?:\w+\.)*(?:h|layers|blocks)\.(?P<block>\d+|last)"),
)
"""TransformerLens' form, the other common one, and a block as Hugging Face calls it, which means its output."""


def named(name: str) -> tuple[str, str] | None:
    """Block (``last`` is the last one) and hook that a name means, in any of the forms of `Site.parse`."""
    for form in _NAMES:
        if match := form.fullmatch(name):
            found = match.groupdict()
            short = found.get("short")
            return found["block"], found.get("hook") or (f"hook_{short}" if short else "hook_resid_post")
    return None


@dataclass(frozen=True)
class Site:
    """A place in one block, by TransformerLens' name.

    ``hook_resid_pre``, ``hook_resid_mid`` and ``hook_resid_post`` are the residual stream before the block, between
    attention and MLP, and behind the block. ``hook_attn_out`` and ``hook_mlp_out`` are what attention and MLP add to
    it, behind a norm of their own where the block has one there (Gemma 2).
    """

    block: int
    hook: str

    @classmethod
    def parse(cls, name: str, *, n_blocks: int) -> Site:
        """Read a site's name; an ``L`` of ``last`` is the last block.

        ``blocks.L.hook_resid_pre`` (or another of `HOOKS`), ``resid_pre.L`` likewise, and ``layers.L`` (``h.L``,
        ``model.layers.L``), which is ``blocks.L.hook_resid_post``. Whether a model has a site within its blocks is
        found out by the engine.

        Raises:
            ConfigError: naming the legal range, and the nearest legal name.
        """
        found = named(name)
        legal = f"blocks.L.HOOK with L in 0..{n_blocks - 1} or last and HOOK one of {', '.join(HOOKS)}"
        if found is None:
            block = re.search(r"(?<![\w-])\d+", name)
            candidates = [f"blocks.{block[0] if block else 0}.{hook}" for hook in HOOKS]
            raise ConfigError(f"unknown site {name!r}{nearest(name, candidates)}; legal: {legal}")
        block = n_blocks - 1 if found[0] == "last" else int(found[0])
        if block >= n_blocks:
            raise ConfigError(
                f"site {name!r} is beyond this model, which has {n_blocks} blocks; legal: {legal}"
            )
        return cls(block, found[1])

    @property
    def boundary(self) -> int:
        """Index of the first block that is not before the site, 0 to n_blocks (after the last)."""
        return self.block + (self.hook == HOOKS[-1])

    @property
    def depth(self) -> int:
        """Place along the stream: what is pushed moves what is deeper. Between two blocks there is one place."""
        return (len(HOOKS) - 1) * self.block + HOOKS.index(self.hook)

    @property
    def within(self) -> bool:
        """Whether it is within its block, where not every model has it."""
        return self.hook not in (HOOKS[0], HOOKS[-1])

    @property
    def of_stream(self) -> bool:
        """Whether it is the residual stream itself, and not what a part of the block adds to it."""
        return self.hook.startswith("hook_resid")

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
